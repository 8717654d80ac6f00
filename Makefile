# Parley. `make help` lists the targets.
SHELL := /bin/bash
.DELETE_ON_ERROR:
CC ?= cc
BUILD ?= build
SAN ?=
VERSION := $(shell cat VERSION 2>/dev/null || echo 0.1.0)
COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

PKGS_CORE := jansson openssl yaml-0.1
PKGS := $(PKGS_CORE) libpq hiredis libjwt libuv libwebsockets libmicrohttpd
pc = $(shell pkg-config --cflags $(1) 2>/dev/null)

WARN := -Wall -Wextra -Werror -Wformat=2 -Wshadow -Wvla -Wimplicit-fallthrough -Wmissing-prototypes -Wstrict-prototypes
HARDEN := -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -ftrivial-auto-var-init=zero \
  -fno-delete-null-pointer-checks -fno-strict-overflow -fno-strict-aliasing -fPIE
ifeq ($(SAN),)
OPT := -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
LDSAN :=
else
OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
LDSAN := -fsanitize=address,undefined
BUILD := build/asan
endif
BASE := -std=gnu11 $(OPT) $(WARN) $(HARDEN) -I. -I$(BUILD) -MMD -MP -DPARLEY_VERSION='"$(VERSION)"' -include core/banned.h
LDFLAGS := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed $(LDSAN)
LIBS := -ljansson -lcrypto -lyaml -lpq -lhiredis -ljwt -luv -lwebsockets -lmicrohttpd -lpthread -lm
# libpq's headers are visible to storage/ alone.
CFLAGS_storage := $(call pc,libpq hiredis) -DPARLEY_STORAGE
CFLAGS_tenants := $(call pc,libjwt)

src = $(sort $(wildcard $(1)/*.c))
obj = $(patsubst %.c,$(BUILD)/%.o,$(1))
CORE := $(call obj,$(call src,core))
STORAGE := $(call obj,$(filter-out storage/migrate_main.c,$(call src,storage)))
TENANTS := $(call obj,$(call src,tenants))
API := $(call obj,$(call src,api))
REALTIME := $(call obj,$(call src,realtime))
COMMON := $(CORE) $(STORAGE) $(TENANTS)
PROGRAMS := $(BUILD)/parley-api $(BUILD)/parley-realtime $(BUILD)/parley-migrate

all: $(PROGRAMS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(BASE) $(call pc,$(PKGS_CORE)) $(CFLAGS_$(firstword $(subst /, ,$*))) $(CFLAGS_EXTRA) -c $< -o $@

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
