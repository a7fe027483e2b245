//! Scales the reading of a sensor and compares it with a limit.
const std = @import("std");
const openclaw = @import("openclaw.zig");

/// The most that the converter can count.
const most = 4095.0;

/// What a workflow hands in.
const Input = struct {
    raw: f64,
    scale: f64,
    limit: ?f64 = null,
};

/// Room for the input and what is made of it; each call has a fresh one.
var space: [16 * 1024]u8 = undefined;

export fn execute() i32 {
    var room = std.heap.FixedBufferAllocator.init(&space);
    const text = openclaw.input(room.allocator()) catch
        return fail("inputs.invalid", "the input is over 16 KiB; send less");
    const input = std.json.parseFromSliceLeaky(Input, room.allocator(), text, .{
        .ignore_unknown_fields = true,
    }) catch return fail("inputs.invalid", "the input does not fit; send the numbers raw and scale");
    if (!(input.raw >= 0 and input.raw <= most)) {
        return fail("user.sensor_fault", "the reading is not within 0 to 4095; check the cable");
    }
    const value = @round(input.raw * input.scale * 1000) / 1000;
    const alarm = if (input.limit) |limit| value > limit else false;
    const output = std.fmt.allocPrint(
        room.allocator(),
        "{{\"value\":{d},\"alarm\":{}}}",
        .{ value, alarm },
    ) catch return fail("plugin.output", "the output has no room");
    openclaw.output(output);
    return 0;
}

fn fail(code: []const u8, message: []const u8) i32 {
    var buffer: [512]u8 = undefined;
    const text = std.fmt.bufPrint(&buffer, "{{\"code\":\"{s}\",\"message\":\"{s}\"}}", .{ code, message }) catch message;
    openclaw.failure(text);
    return 1;
}
