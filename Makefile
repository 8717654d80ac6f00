# Parley. `make help` lists the targets. Variables: SAN=1 builds with ASan and UBSan into build/asan, FUZZ=1 with clang and libFuzzer into build/fuzz, V=1 shows
# the commands, GATEWAYS=2, FUZZ_SECONDS=60, and every PARLEY_ setting of docs/CONFIG.md for run, up, down.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all
CC ?= cc
BUILD := build
SAN ?=
FUZZ ?=
ifneq ($(FUZZ),)
CC := clang
endif
VERSION := $(shell cat VERSION)
COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
JOBS := $(shell nproc)
Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1)  $@")

# ---- compiler ----
WARN := -Wall -Wextra -Werror -Wformat=2 -Werror=format-security -Wshadow -Wvla -Wimplicit-fallthrough -Wmissing-prototypes -Wstrict-prototypes
try = $(shell $(CC) -Werror $(1) -x c -E /dev/null >/dev/null 2>&1 && echo $(1))
HARDEN := -fstack-protector-strong -fno-delete-null-pointer-checks -fno-strict-overflow -fno-strict-aliasing -fPIE \
  $(foreach f,-fstack-clash-protection -fcf-protection=full -ftrivial-auto-var-init=zero -fstrict-flex-arrays=3,$(call try,$(f)))
ifeq ($(SAN),)
OPT := -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
SANFLAGS :=
else
SANFLAGS := -fsanitize=address,undefined
# gcc takes the checks that UBSan inserts for formats that may be NULL.
OPT := -O1 -g -fno-omit-frame-pointer -Wno-format-truncation -Wno-format-overflow $(SANFLAGS) -fno-sanitize-recover=undefined
BUILD := build/asan
endif
ifneq ($(FUZZ),)
SANFLAGS := -fsanitize=address,undefined
OPT := -O1 -g -fno-omit-frame-pointer $(SANFLAGS) -fsanitize=fuzzer-no-link -fno-sanitize-recover=undefined
BUILD := build/fuzz
endif
CFLAGS := -std=gnu11 $(OPT) $(WARN) $(HARDEN) -I. -MMD -MP -DPARLEY_VERSION='"$(VERSION)"' -include core/banned.h
LDFLAGS := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed $(SANFLAGS)
LIBS := -ljansson -lcrypto -lyaml -lpq -lhiredis -ljwt -luv -lpthread -lm
# The headers of libpq and hiredis are for storage/ alone; core/banned.h refuses their names elsewhere.
CFLAGS_storage := -DPARLEY_STORAGE $(shell pkg-config --cflags libpq hiredis 2>/dev/null)

# ---- what is built of what ----
src = $(sort $(wildcard $(1)/*.c))
obj = $(patsubst %.c,$(BUILD)/%.o,$(1))
STORE := $(call obj,$(call src,core) $(filter-out storage/migrate_main.c,$(call src,storage))) $(BUILD)/embed_data.o
COMMON := $(STORE) $(call obj,$(call src,tenants))
# Parts of the gateway that do no I/O: unit tests link them.
PURE := $(call obj,$(wildcard realtime/engineio*.c realtime/socketio*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
EMBEDDED := $(foreach f,$(sort $(wildcard migrations/0*.sql openapi/*.yaml)),$(f)=$(f)) \
  $(foreach f,$(sort $(wildcard storage/lua/*.lua)),lua/$(notdir $(f))=$(f))
# The gateway without what it is for: Engine.IO and Socket.IO over sockets.
TRANSPORT := $(foreach f,accept engineio frame gateway http link loop polling socketio websocket,$(BUILD)/realtime/$(f).o)
PROGRAMS := $(addprefix $(BUILD)/,parley-api parley-realtime parley-migrate)
UNIT := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
STORED := $(patsubst tests/storage/%.c,$(BUILD)/stored/%,$(wildcard tests/storage/test_*.c))

ECHO := $(BUILD)/sio-echo

all: $(PROGRAMS) $(ECHO) ## build the programs, and the echo server of the tests

$(BUILD)/parley-api: $(call obj,$(call src,api)) $(COMMON)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) $^ $(LIBS) -lmicrohttpd -o $@
$(BUILD)/parley-realtime: $(call obj,$(call src,realtime)) $(COMMON)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) $^ $(LIBS) -lwebsockets -o $@
$(BUILD)/parley-migrate: $(BUILD)/storage/migrate_main.o $(STORE)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) $^ $(LIBS) -o $@
$(ECHO): $(call obj,$(call src,tests/echo)) $(TRANSPORT) $(call obj,$(call src,core)) $(BUILD)/embed_data.o
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) $^ $(LIBS) -lwebsockets -o $@
$(BUILD)/unit/%: tests/unit/%.c $(COMMON) $(PURE)
	$(call say,LD)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -DPARLEY_TEST $(LDFLAGS) $< $(PURE) $(COMMON) $(LIBS) -lcmocka -o $@
$(BUILD)/stored/%: tests/storage/%.c $(STORE)
	$(call say,LD)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(CFLAGS_storage) $(LDFLAGS) $< $(STORE) $(LIBS) -lcmocka -o $@

# An archive gives each fuzzer the files that it uses, but for those that it replaces.
$(BUILD)/fuzzed.a: $(call obj,$(call src,core) $(call src,realtime)) $(BUILD)/embed_data.o
	$(call say,AR)
	$(Q)rm -f $@ && ar rcs $@ $^
$(BUILD)/fuzz_%: tests/fuzz/fuzz_%.c $(BUILD)/fuzzed.a $(BUILD)/flags
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) -fsanitize=fuzzer $(LDFLAGS) $(WRAPPED) $< $(filter %.o,$^) $(filter %.a,$^) -ljansson -lcrypto -lyaml -luv -lpthread -lm -o $@
$(BUILD)/fuzz_session: $(call obj,$(addprefix tests/fuzz/,client.c fake_loop.c fake_lws.c))
$(BUILD)/fuzz_session: WRAPPED := -Wl,--wrap=crypto_random,--wrap=recv,--wrap=writev,--wrap=epoll_ctl

$(BUILD)/%.o: %.c $(BUILD)/flags
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(CFLAGS_$(firstword $(subst /, ,$*))) $(EXTRA) -c $< -o $@
$(BUILD)/core/metrics.o: EXTRA := -DPARLEY_COMMIT='"$(COMMIT)"'
$(BUILD)/embed_data.o: $(BUILD)/embed_data.c
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) -c $< -o $@
$(BUILD)/embed: dev/embed.c
	@mkdir -p $(@D)
	$(Q)$(CC) -O1 -Wall -Wextra -Werror $< -o $@

# These two are made each time and replaced only when they differ: a file that was removed and a changed flag count too.
$(BUILD)/embed_data.c: $(BUILD)/embed FORCE
	@$< $(EMBEDDED) >$@.$$$$ && { cmp -s $@.$$$$ $@ && rm $@.$$$$ || mv $@.$$$$ $@; }
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(CC) $(CFLAGS))' >$@.$$$$ && { cmp -s $@.$$$$ $@ && rm $@.$$$$ || mv $@.$$$$ $@; }

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

# ---- the local stack ----
deps: ## install the Debian packages that building and running need
	@dev/deps run
run: deps ## install, build and run everything in the foreground
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@exec dev/stack run
up: deps ## the same in the background; starts what is not running (GATEWAYS=2: two gateways)
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@dev/stack up
down: ## stop what `make up` started
	@dev/stack down
status: ## show what is running
	@dev/stack status

# ---- tests ----
test: ## install what the tests need and run them all
	@dev/deps test
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@$(MAKE) --no-print-directory -j$(JOBS) SAN=1 check-build
	@$(MAKE) --no-print-directory -j$(JOBS) FUZZ=1 fuzzers
	@dev/test
check-build: $(PROGRAMS) $(ECHO) $(UNIT) $(STORED)
FUZZ_SECONDS ?= 60
fuzz: fuzz-build ## run each fuzzer for FUZZ_SECONDS=60
	@dev/fuzz run $(FUZZ_SECONDS)
fuzz-merge: fuzz-build ## keep what the fuzzers have found and reaches new code
	@dev/fuzz merge
fuzz-build:
	@dev/deps test
	@$(MAKE) --no-print-directory -j$(JOBS) FUZZ=1 fuzzers
fuzzers: $(FUZZERS)
check: $(UNIT) check-layers ## run the unit tests and the layer check
	@for t in $(UNIT); do $$t || exit 1; done
check-layers: ## who may include whom
	@dev/check-layers
format: ## format all C files
	@git ls-files '*.c' '*.h' | xargs clang-format -i
format-check: ## name the C files that are not formatted
	@git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror
lint: ## lint the specifications
	@REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true tests/node_modules/.bin/redocly lint --config openapi/redocly.yaml $(sort $(wildcard openapi/re[sa]*.yaml))
docs: $(BUILD)/parley-api ## print docs/CONFIG.md anew
	@$< --print-config-docs >docs/CONFIG.md.new && mv docs/CONFIG.md.new docs/CONFIG.md
clean: ## remove what was built
	rm -rf build
help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: all deps run up down status test check-build fuzz fuzz-merge fuzz-build fuzzers check check-layers format format-check lint docs clean help FORCE
