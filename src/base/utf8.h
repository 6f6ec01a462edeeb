/* UTF-8 as RFC 3629 defines it: no surrogates, no overlong forms, at most U+10FFFF. */
#ifndef TD_BASE_UTF8_H
#define TD_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Decodes the character at `text` (length > 0); returns its bytes (1-4) or 0 when malformed. */
size_t td_utf8_decode(const char *text, size_t length, uint32_t *ret_code);
/* Writes at most 4 bytes; returns how many. Invalid codes are written as U+FFFD. */
size_t td_utf8_encode(uint32_t code, char *ret_bytes);
/* Returns the offset of the first malformed byte, or `length` when all is well. */
size_t td_utf8_valid_prefix(const char *text, size_t length);

#endif
