/* Scales the reading of a sensor and compares it with a limit. */
#include "json.h"
#include "openclaw.h"

/* The most that the converter can count. */
#define MOST 4095.0

static char input[4096];

static int32_t fail(const char *code, const char *message) {
  char space[512];
  struct text failure = {space, sizeof space, 0};
  put(&failure, "{\"code\":\"");
  put(&failure, code);
  put(&failure, "\",\"message\":\"");
  put(&failure, message);
  put(&failure, "\"}");
  openclaw_error_write(failure.start, failure.length);
  return 1;
}

OPENCLAW_ACTION(execute) {
  size_t length = openclaw_input_length();
  if (length > sizeof input) {
    return fail("inputs.invalid", "the input is over 4096 bytes; send less");
  }
  openclaw_input_read(input, length);

  double raw, scale, limit;
  if (!json_number(input, length, "raw", &raw)) {
    return fail("inputs.invalid", "`raw` is no number; send what the converter counted");
  }
  if (!json_number(input, length, "scale", &scale)) {
    return fail("inputs.invalid", "`scale` is no number; send the units for each count");
  }
  int has_limit = json_number(input, length, "limit", &limit);
  if (!(raw >= 0 && raw <= MOST)) {
    return fail("user.sensor_fault", "the reading is not within 0 to 4095; check the cable");
  }
  double value = raw * scale;

  char space[128];
  struct text output = {space, sizeof space, 0};
  put(&output, "{\"value\":");
  put_number(&output, value);
  put(&output, ",\"alarm\":");
  put(&output, has_limit && value > limit ? "true}" : "false}");
  openclaw_output_write(output.start, output.length);
  return 0;
}
