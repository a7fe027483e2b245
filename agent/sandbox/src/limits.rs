//! Every bound of the sandbox that is not a matter between several parts.

/// Fuel of one uninterrupted stretch inside the engine. Each return from the engine unwinds its
/// native stack, which a loop of failing `memory.grow` lets grow (wasmi 2.0.0); with stretches of
/// this size and 8 MiB of native stack it stays far from the end. It is also how often the
/// deadline and a cancellation are looked at.
pub const FUEL_SLICE: u64 = 10_000;
/// `memory.grow` instructions in one function. They are what grows the engine's native stack,
/// and fuel is taken for a whole basic block at once, so their number in a block must be small.
pub const GROWS_PER_FUNCTION: u32 = 64;
/// Fuel that each call of a host function costs, beside what it copies.
pub const FUEL_PER_HOST_CALL: u64 = 50;
/// Fuel that a request to the outside (file, HTTP, clock, random) costs.
pub const FUEL_PER_REQUEST: u64 = 2_000;
/// Bytes that a host function copies for one unit of fuel.
pub const BYTES_PER_FUEL: u64 = 16;

/// Linear memory that a module may have from the start, in pages of 64 KiB. It is zero-filled
/// before the first instruction.
pub const INITIAL_PAGES: u64 = 128;
/// Elements of all tables of a module together; their bytes count as the call's memory.
pub const TABLE_ELEMENTS: usize = 65_536;
/// Calls inside calls.
pub const RECURSION: usize = 4_096;
/// The interpreter's value stack, in bytes.
pub const STACK_BYTES: usize = 1_000_000;
/// Imports of a module.
pub const IMPORTS: u32 = 256;
/// Exports of a module.
pub const EXPORTS: u32 = 1_024;
/// Functions of a module's own.
pub const FUNCTIONS: u32 = 20_000;
/// Global variables of a module.
pub const GLOBALS: u32 = 1_000;
/// Tables of a module.
pub const TABLES: u32 = 100;
/// Element segments of a module.
pub const ELEMENT_SEGMENTS: u32 = 1_000;
/// Data segments of a module. Each is copied into every instance; Go's own compiler makes 28,000.
pub const DATA_SEGMENTS: u32 = 65_536;
/// Parameters or results of one function or block.
pub const VALUES: u32 = 32;
/// Missing imports that are named when a module is refused.
pub const NAMES_SHOWN: usize = 8;
/// One of these names, in bytes.
pub const NAME_SHOWN_BYTES: usize = 128;

/// Modules kept ready.
pub const CACHED_MODULES: usize = 32;
/// Bytes of WebAssembly whose translations are kept ready.
pub const CACHED_BYTES: usize = 32 * 1024 * 1024;

/// Lines that one call may log; later ones are counted and dropped.
pub const LOG_LINES: usize = 200;
/// Bytes of one log line; the rest of it is cut off.
pub const LOG_LINE_BYTES: usize = 1_024;
/// Bytes that one call may log.
pub const LOG_BYTES: usize = 32 * 1024;
/// A failure's message, in bytes.
pub const MESSAGE_BYTES: usize = 2_048;
/// A failure's code, in bytes.
pub const CODE_BYTES: usize = 64;

/// All variables of a run together, in bytes, names included.
pub const VARS_BYTES: usize = 64 * 1024;
/// Variables of a run.
pub const VARS: usize = 256;
/// Different denials that are remembered.
pub const DENIALS: usize = 16;

/// A request's URL, in bytes.
pub const URL_BYTES: usize = 4 * 1024;
/// Header fields of a request.
pub const HEADERS: usize = 64;
/// Header fields of a request together, in bytes.
pub const HEADERS_BYTES: usize = 16 * 1024;
/// Body of a response; also bounded by the memory that the call has left.
pub const RESPONSE_BYTES: usize = 4 * 1024 * 1024;
/// One read of a file.
pub const FILE_BYTES: usize = 1024 * 1024;
/// A path inside a granted directory, in bytes.
pub const PATH_BYTES: usize = 512;
/// Names given back for one directory, in bytes; later ones are left out.
pub const LISTING_BYTES: usize = 64 * 1024;
/// One write of a file.
pub const FILE_WRITE_BYTES: usize = 1024 * 1024;
/// A key under which a value is remembered, in bytes.
pub const KV_KEY_BYTES: usize = 256;
/// A remembered value, in bytes.
pub const KV_VALUE_BYTES: usize = 64 * 1024;
/// Keys of one scope.
pub const KV_KEYS: usize = 1_024;
/// All keys and values of one scope together, in bytes.
pub const KV_SCOPE_BYTES: usize = 256 * 1024;
/// Messages that one call publishes.
pub const MESSAGES: usize = 64;
/// Messages of one call together, topics included, in bytes.
pub const MESSAGES_BYTES: usize = 256 * 1024;
/// Streams that one call opens.
pub const STREAMS: u32 = 8;
/// One read or write of a stream, in bytes.
pub const STREAM_BYTES: usize = 64 * 1024;
/// One transaction on an I²C bus, in bytes each way (`I2C_RDWR` of Linux takes 8,192).
pub const I2C_BYTES: usize = 8_192;
/// Arguments of one command, in bytes.
pub const ARGS_BYTES: usize = 16 * 1024;
/// Standard input of one command, in bytes.
pub const STDIN_BYTES: usize = 256 * 1024;
/// Standard output of one command, in bytes; more is cut.
pub const STDOUT_BYTES: usize = 256 * 1024;
/// One request for random bytes.
pub const RANDOM_BYTES: usize = 64 * 1024;

/// Bookkeeping charged for each block that a plugin keeps on the host's side, in bytes.
pub const BLOCK_OVERHEAD_BYTES: usize = 64;

/// What is kept of the host's answers to one call, for its replay, in bytes.
pub const TAPE_BYTES: usize = 64 * 1024;
/// What a person is shown of one question among them, in bytes.
pub const TAPE_LABEL_BYTES: usize = 256;

/// What a report of a case shows of one value, in bytes.
pub const SHOWN_BYTES: usize = 200;
/// Differences that a report of a case names.
pub const DIFFERENCES: usize = 20;
