# Parley. `make help` lists the targets.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all
CC ?= cc
BUILD ?= build
SAN ?=
VERSION := $(shell cat VERSION)
COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
JOBS := $(shell nproc)

# ---- compiler ----
WARN := -Wall -Wextra -Werror -Wformat=2 -Werror=format-security -Wshadow -Wvla -Wimplicit-fallthrough -Wmissing-prototypes -Wstrict-prototypes
HARDEN := -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -ftrivial-auto-var-init=zero \
  -fno-delete-null-pointer-checks -fno-strict-overflow -fno-strict-aliasing -fPIE
ifeq ($(SAN),)
OPT := -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
SANFLAGS :=
else
SANFLAGS := -fsanitize=address,undefined
# gcc takes the checks that UBSan inserts for formats that may be NULL.
OPT := -O1 -g -fno-omit-frame-pointer -Wno-format-truncation -Wno-format-overflow $(SANFLAGS) -fno-sanitize-recover=undefined
BUILD := build/asan
endif
CFLAGS := -std=gnu11 $(OPT) $(WARN) $(HARDEN) -I. -MMD -MP -DPARLEY_VERSION='"$(VERSION)"' -include core/banned.h
LDFLAGS := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed $(SANFLAGS)
LIBS := -ljansson -lcrypto -lyaml -lpq -lhiredis -ljwt -luv -lpthread -lm
# The headers of libpq and hiredis are for storage/ alone; core/banned.h refuses their names elsewhere.
CFLAGS_storage := -DPARLEY_STORAGE $(shell pkg-config --cflags libpq hiredis 2>/dev/null)

# ---- what is built of what ----
src = $(sort $(wildcard $(1)/*.c))
obj = $(patsubst %.c,$(BUILD)/%.o,$(1))
COMMON := $(call obj,$(call src,core) $(filter-out storage/migrate_main.c,$(call src,storage)) $(call src,tenants)) $(BUILD)/embed_data.o
REALTIME := $(call obj,$(call src,realtime))
EMBEDDED := $(foreach f,$(sort $(wildcard migrations/0*.sql) $(wildcard openapi/*.yaml)),$(f)=$(f)) \
  $(foreach f,$(sort $(wildcard storage/lua/*.lua)),lua/$(notdir $(f))=$(f))
PROGRAMS := $(addprefix $(BUILD)/,parley-api parley-realtime parley-migrate)
UNIT := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
STORED := $(patsubst tests/storage/%.c,$(BUILD)/stored/%,$(wildcard tests/storage/test_*.c))
# Parts of the gateway that do no I/O and can be tested alone.
PURE := $(call obj,$(filter-out realtime/main.c,$(call src,realtime)))

all: $(PROGRAMS) ## build the programs

$(BUILD)/parley-api: $(call obj,$(call src,api)) $(COMMON)
	$(CC) $(LDFLAGS) $^ $(LIBS) -lmicrohttpd -o $@
$(BUILD)/parley-realtime: $(REALTIME) $(COMMON)
	$(CC) $(LDFLAGS) $^ $(LIBS) -lwebsockets -o $@
$(BUILD)/parley-migrate: $(BUILD)/storage/migrate_main.o $(COMMON)
	$(CC) $(LDFLAGS) $^ $(LIBS) -o $@
$(BUILD)/unit/%: tests/unit/%.c $(COMMON) $(PURE)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -DPARLEY_TEST $(LDFLAGS) $< $(PURE) $(COMMON) $(LIBS) -lwebsockets -lcmocka -o $@
$(BUILD)/stored/%: tests/storage/%.c $(COMMON)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CFLAGS_storage) $(LDFLAGS) $< $(COMMON) $(LIBS) -lcmocka -o $@

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CFLAGS_$(firstword $(subst /, ,$*))) -c $< -o $@
$(BUILD)/core/metrics.o: CFLAGS += -DPARLEY_COMMIT='"$(COMMIT)"'
$(BUILD)/embed_data.o: $(BUILD)/embed_data.c
	$(CC) $(CFLAGS) -c $< -o $@
$(BUILD)/embed_data.c: $(BUILD)/embed $(foreach e,$(EMBEDDED),$(lastword $(subst =, ,$(e)))) Makefile
	$(BUILD)/embed $(EMBEDDED) > $@
$(BUILD)/embed: dev/embed.c
	@mkdir -p $(@D)
	$(CC) -O1 -Wall -Wextra -Werror $< -o $@

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

# ---- the local stack ----
deps: ## install the Debian packages that building and running need
	@dev/deps run
run: deps ## install, build and run everything in the foreground
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@exec dev/stack run
up: deps ## the same in the background; starts what is not running (GATEWAYS=2 for more gateways)
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@GATEWAYS=$(GATEWAYS) dev/stack up
down: ## stop what `make up` started
	@dev/stack down

# ---- tests ----
test: ## install what the tests need and run them all
	@dev/deps test
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@$(MAKE) --no-print-directory -j$(JOBS) SAN=1 check-build
	@dev/test
check-build: $(PROGRAMS) $(UNIT) $(STORED)
check-unit: $(UNIT) ## run the unit tests
	@for t in $^; do $$t || exit 1; done
check-layers: ## who may include whom
	@dev/check-layers
format: ## format all C files
	@git ls-files '*.c' '*.h' | xargs clang-format -i
format-check:
	@git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror
lint: ## lint the specifications
	@cd tests && npx --no-install redocly lint --config ../openapi/redocly.yaml ../openapi/rest.yaml ../openapi/realtime.yaml
docs: $(BUILD)/parley-api ## print docs/CONFIG.md anew
	$(BUILD)/parley-api --print-config-docs > docs/CONFIG.md
clean: ## remove what was built
	rm -rf build
help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: all deps run up down test check-build check-unit check-layers format format-check lint docs clean help
