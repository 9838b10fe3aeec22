# How C is compiled in this repository.
# SAN=1 with AddressSanitizer, UndefinedBehaviorSanitizer and LeakSanitizer; TSAN=1 with ThreadSanitizer; WERROR=1.

STRICT = -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wconversion -Wswitch-enum -Wformat=2 -Wvla $(if $(WERROR),-Werror)
ifdef SAN
SANITIZER = -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
else ifdef TSAN
SANITIZER = -fsanitize=thread
endif
# For what is shipped.
HARDENED = $(if $(SANITIZER),-O1 $(SANITIZER),-D_FORTIFY_SOURCE=2 -fstack-protector-strong)
