// Scales the reading of a sensor and compares it with a limit.
import { failure, input, output } from "./openclaw";
import { numberOf } from "./json";

/** The most that the converter can count. */
const MOST: f64 = 4095;

export function execute(): i32 {
  const text = input();
  const raw = numberOf(text, "raw");
  const scale = numberOf(text, "scale");
  const limit = numberOf(text, "limit");
  if (isNaN(raw)) return failure("inputs.invalid", "`raw` is no number; send what the converter counted");
  if (isNaN(scale)) return failure("inputs.invalid", "`scale` is no number; send the units for each count");
  if (!(raw >= 0 && raw <= MOST)) {
    return failure("user.sensor_fault", `the reading is ${raw}, expected 0 to 4095; check the cable`);
  }
  const value = Math.round(raw * scale * 1000) / 1000;
  const alarm = !isNaN(limit) && value > limit;
  return output(`{"value":${value},"alarm":${alarm}}`);
}
