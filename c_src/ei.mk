# Where libei is: asked of erl when unset.

EI_ROOT := $(shell erl -noshell -eval 'io:put_chars(code:lib_dir(erl_interface)), halt().' 2>/dev/null)
ERL_EI_INCLUDE_DIR ?= $(EI_ROOT)/include
ERL_EI_LIBDIR ?= $(EI_ROOT)/lib
