//! A look at a module before anything is translated: what it imports and exports, how much memory
//! it starts with, and the few shapes that this engine must not be given.

use openclaw_protocol::limits::MODULE_BYTES;
use serde::Serialize;
use wasmparser::{
    Encoding, ExportSectionReader, ExternalKind, FunctionBody, ImportSectionReader, MemoryType,
    Operator, Parser, Payload, TypeRef,
};

use crate::call::cut;
use crate::limits;

/// Where Extism has the functions of the application that a plugin is part of.
const USER: &str = "extism:host/user";

/// What a module is like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ModuleInfo {
    /// Size of the module, in bytes.
    pub bytes: usize,
    /// What it imports, in its order.
    pub imports: Vec<Import>,
    /// The functions that it exports, in its order.
    pub exports: Vec<String>,
    /// Linear memory that it starts with, in pages of 64 KiB.
    pub initial_pages: u64,
    /// The most linear memory that it will ask for, in pages, where it says so.
    pub maximum_pages: Option<u64>,
    /// Functions of its own.
    pub functions: u32,
}

/// One import of a module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Import {
    /// The module that it is to come from.
    pub module: String,
    /// Its name there.
    pub name: String,
}

/// Why a module is not taken.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Over the size limit.
    #[error(
        "the module has {bytes} bytes, the limit is {MODULE_BYTES}; strip it and optimise for size"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The bytes are not the ones that were asked for.
    #[error("the module's SHA-256 is {actual}, expected {expected}; fetch it again")]
    Digest {
        /// What was asked for.
        expected: openclaw_protocol::id::Digest,
        /// What the bytes have.
        actual: openclaw_protocol::id::Digest,
    },
    /// Not WebAssembly, or not valid.
    #[error("not a valid core WebAssembly module: {0}")]
    Invalid(String),
    /// Valid, but not something the sandbox runs.
    #[error("{0}")]
    Unsupported(String),
    /// Imports that the sandbox does not have.
    #[error("the module imports what is not offered here: {}; {}", named(.0), advice(.0))]
    Imports(Vec<Import>),
    /// The engine panicked over this module. It is our fault, and the module cannot run.
    #[error("the engine failed over this module; report it with the module attached")]
    Engine,
}

/// Imports as a person reads them: not too many, and none without end.
fn named(imports: &[Import]) -> String {
    let short = |import: &Import| {
        let (module, name) = (&import.module, &import.name);
        cut(&format!("{module}.{name}"), limits::NAME_SHOWN_BYTES)
    };
    let shown: Vec<String> = imports.iter().take(limits::NAMES_SHOWN).map(short).collect();
    match imports.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn advice(imports: &[Import]) -> &'static str {
    if imports.iter().any(|import| import.module == USER) {
        return "functions of a host application (`extism:host/user`) do not exist on a device: use \
                those of `extism:host/env` and `openclaw`";
    }
    "a plugin may import functions of `extism:host/env`, `openclaw` and `wasi_snapshot_preview1`"
}

/// Looks at a module. It is parsed, not validated: the engine does that when it is loaded.
///
/// # Errors
/// It cannot be parsed, is too large, or has a shape that is refused.
pub(crate) fn inspect(wasm: &[u8]) -> Result<ModuleInfo, LoadError> {
    if wasm.len() > MODULE_BYTES {
        return Err(LoadError::TooLarge { bytes: wasm.len() });
    }
    let mut look = Look::default();
    look.info.bytes = wasm.len();
    for payload in Parser::new(0).parse_all(wasm) {
        look.take(payload.map_err(invalid)?)?;
    }
    Ok(look.info)
}

#[derive(Default)]
struct Look {
    info: ModuleInfo,
    imported_functions: u32,
}

impl Look {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other sections say nothing we ask for")]
    fn take(&mut self, payload: Payload<'_>) -> Result<(), LoadError> {
        match payload {
            Payload::Version { encoding: Encoding::Component, .. } => Err(unsupported(
                "this is a WebAssembly component; the sandbox runs core modules: build for \
                 wasm32-unknown-unknown or wasm32-wasip1 without a component adapter",
            )),
            Payload::ImportSection(section) => self.imports(section),
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    let ty = ty.map_err(invalid)?;
                    let most = ty.params().len().max(ty.results().len());
                    bounded("values in one signature", most as u32, limits::VALUES)?;
                }
                Ok(())
            }
            Payload::FunctionSection(section) => {
                self.info.functions = section.count();
                bounded("functions", section.count(), limits::FUNCTIONS)
            }
            Payload::GlobalSection(section) => {
                bounded("global variables", section.count(), limits::GLOBALS)
            }
            Payload::TableSection(section) => bounded("tables", section.count(), limits::TABLES),
            Payload::ElementSection(section) => {
                bounded("element segments", section.count(), limits::ELEMENT_SEGMENTS)
            }
            Payload::DataSection(section) => {
                bounded("data segments", section.count(), limits::DATA_SEGMENTS)
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.memory(memory.map_err(invalid)?)?;
                }
                Ok(())
            }
            Payload::ExportSection(section) => self.exports(section),
            Payload::StartSection { .. } => Err(unsupported(
                "the module has a start function, which would run before any limit; build it as \
                 a library (a reactor, with `_initialize`)",
            )),
            Payload::CodeSectionEntry(body) => operators(&body),
            _ => Ok(()),
        }
    }

    fn imports(&mut self, section: ImportSectionReader<'_>) -> Result<(), LoadError> {
        bounded("imports", section.count(), limits::IMPORTS)?;
        for import in section {
            let import = import.map_err(invalid)?;
            match import.ty {
                TypeRef::Func(_) => self.imported_functions += 1,
                TypeRef::Memory(_) | TypeRef::Table(_) | TypeRef::Global(_) | TypeRef::Tag(_) => {
                    return Err(unsupported(format!(
                        "the module imports `{}.{}`, which is not a function; let it define its \
                         own memory and tables",
                        cut(import.module, limits::NAME_SHOWN_BYTES),
                        cut(import.name, limits::NAME_SHOWN_BYTES)
                    )));
                }
            }
            let (module, name) = (import.module.to_owned(), import.name.to_owned());
            self.info.imports.push(Import { module, name });
        }
        Ok(())
    }

    fn exports(&mut self, section: ExportSectionReader<'_>) -> Result<(), LoadError> {
        bounded("exports", section.count(), limits::EXPORTS)?;
        for export in section {
            let export = export.map_err(invalid)?;
            if export.kind != ExternalKind::Func {
                continue;
            }
            if export.index < self.imported_functions {
                return Err(unsupported(format!(
                    "the export `{}` is an import handed on; wrap it in a function",
                    cut(export.name, limits::NAME_SHOWN_BYTES)
                )));
            }
            self.info.exports.push(export.name.to_owned());
        }
        Ok(())
    }

    fn memory(&mut self, memory: MemoryType) -> Result<(), LoadError> {
        if memory.initial > limits::INITIAL_PAGES {
            return Err(unsupported(format!(
                "the module starts with {} pages of memory, the most is {}; link it with a \
                 smaller stack (-zstack-size=32768) and less static data",
                memory.initial,
                limits::INITIAL_PAGES
            )));
        }
        self.info.initial_pages = memory.initial;
        self.info.maximum_pages = memory.maximum;
        Ok(())
    }
}

/// Two instructions deserve a look. Each `memory.grow` costs native stack inside the engine until
/// the slice ends (wasmi 2.0.0), and `table.grow` cannot be resumed there after its slice ended.
fn operators(body: &FunctionBody<'_>) -> Result<(), LoadError> {
    let mut grows = 0;
    let mut reader = body.get_operators_reader().map_err(invalid)?;
    while !reader.eof() {
        let operator = reader.read().map_err(simd_or_invalid)?;
        if matches!(operator, Operator::TableGrow { .. }) {
            return Err(unsupported(
                "the module uses `table.grow`; give its table its full size when linking",
            ));
        }
        grows += u32::from(matches!(operator, Operator::MemoryGrow { .. }));
    }
    bounded("memory.grow instructions in one function", grows, limits::GROWS_PER_FUNCTION)
}

fn bounded(what: &str, count: u32, most: u32) -> Result<(), LoadError> {
    if count > most {
        return Err(unsupported(format!("the module has {count} {what}, the most is {most}")));
    }
    Ok(())
}

fn unsupported(what: impl Into<String>) -> LoadError {
    LoadError::Unsupported(what.into())
}

/// Instructions on vectors are another matter than nonsense.
fn simd_or_invalid(error: wasmparser::BinaryReaderError) -> LoadError {
    if error.message().contains("SIMD") {
        return unsupported(
            "the module uses vector instructions (SIMD), which the interpreter does not have; build \
             it without them (-mno-simd128)",
        );
    }
    invalid(error)
}

fn invalid(error: wasmparser::BinaryReaderError) -> LoadError {
    LoadError::Invalid(error.to_string())
}
