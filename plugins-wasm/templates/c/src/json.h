/* As much JSON as a small plugin needs, without a C library: the numbers of one flat object, and
 * texts put together. For more, add a library of your own to src/. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* A text that grows in space of the caller's; what does not fit is left out. */
struct text {
  char *start;
  size_t space, length;
};

static inline void put_byte(struct text *text, char byte) {
  if (text->length < text->space) text->start[text->length++] = byte;
}

static inline void put(struct text *text, const char *more) {
  while (*more) put_byte(text, *more++);
}

static inline void put_whole(struct text *text, uint64_t number) {
  char digits[20];
  int count = 0;
  do digits[count++] = (char)('0' + number % 10);
  while (number /= 10);
  while (count) put_byte(text, digits[--count]);
}

/* To three decimals. JSON has no word for what is too large for that, so it is null. */
static inline void put_number(struct text *text, double number) {
  double size = number < 0 ? -number : number;
  if (!(size < 9e15)) {
    put(text, "null");
    return;
  }
  uint64_t thousandths = (uint64_t)(size * 1000 + 0.5);
  if (number < 0 && thousandths) put_byte(text, '-');
  put_whole(text, thousandths / 1000);
  put_byte(text, '.');
  for (uint64_t place = 100, rest = thousandths % 1000; place; place /= 10) {
    put_byte(text, (char)('0' + rest / place % 10));
  }
}

/* Behind the text that begins at `at`, with its opening quote. */
static inline size_t json_behind_text(const char *json, size_t length, size_t at) {
  for (at++; at < length && json[at] != '"'; at++) {
    if (json[at] == '\\') at++;
  }
  return at + 1;
}

static inline int json_digit(const char *json, size_t length, size_t at) {
  return at < length && json[at] >= '0' && json[at] <= '9';
}

/* The number at `at`; 0 where there is none. */
static inline int json_read_number(const char *json, size_t length, size_t at, double *number) {
  int negative = at < length && json[at] == '-';
  if (negative) at++;
  if (!json_digit(json, length, at)) return 0;
  double value = 0;
  int exponent = 0;
  for (; json_digit(json, length, at); at++) value = value * 10 + (json[at] - '0');
  if (at < length && json[at] == '.') {
    for (at++; json_digit(json, length, at); at++, exponent--) value = value * 10 + (json[at] - '0');
  }
  if (at < length && (json[at] == 'e' || json[at] == 'E')) {
    at++;
    int down = at < length && json[at] == '-';
    if (at < length && (json[at] == '-' || json[at] == '+')) at++;
    int power = 0;
    for (; json_digit(json, length, at); at++) {
      if (power < 400) power = power * 10 + (json[at] - '0');
    }
    exponent += down ? -power : power;
  }
  double tens = 1;
  for (int n = exponent < 0 ? -exponent : exponent; n > 0 && tens < 1e300; n--) tens *= 10;
  value = exponent < 0 ? value / tens : value * tens;
  *number = negative ? -value : value;
  return 1;
}

/* The number under a name of the outermost object; 0 where there is none. */
static inline int json_number(const char *json, size_t length, const char *name, double *number) {
  int depth = 0;
  for (size_t at = 0; at < length;) {
    char byte = json[at];
    if (byte == '{' || byte == '[') depth++;
    if (byte == '}' || byte == ']') depth--;
    if (byte != '"') {
      at++;
      continue;
    }
    size_t begin = at + 1, place = 0;
    at = json_behind_text(json, length, at);
    while (name[place] && begin + place < length && json[begin + place] == name[place]) place++;
    int is_name = !name[place] && begin + place + 1 == at;
    while (at < length && (json[at] == ' ' || json[at] == '\n' || json[at] == '\r' || json[at] == '\t')) at++;
    if (!is_name || depth != 1 || at >= length || json[at] != ':') continue;
    for (at++; at < length && (json[at] == ' ' || json[at] == '\n' || json[at] == '\r' || json[at] == '\t');) at++;
    return json_read_number(json, length, at, number);
  }
  return 0;
}
