//! What worlds stand on: folders in memory, the documents, and what is forged in controls.

use std::fs::{self, Permissions};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, LazyLock};

use openclaw_control_plane::clock::Clock;
use openclaw_control_plane::fleet::stepped::{Setup, prepare};
use openclaw_protocol::id::DeviceId;
use openclaw_protocol::sync::{Cursor, Frame, Lane};
use openclaw_protocol::wire::{self, Kind};
use tempfile::TempDir;

use crate::device::{Device, START_MS};

const MANIFEST: &str = "name = 'count'\nversion = '1.0.0'\ndescription = 'counts'\n";
/// The smallest module with an export `execute`.
const MODULE: &str =
    "(module (memory (export \"memory\") 1) (func (export \"execute\") (result i32) i32.const 0))";

const CHAIN: &str = "workflow: chain
version: 'V'
mode: parallel
max: 1000
outputs: { n: '${ steps.three.output.n }' }
steps:
  - { id: one, plugin: count@^1, with: { n: 0 } }
  - { id: pause, delay: 20s }
  - id: both
    parallel:
      branches:
        count: [ { id: two, plugin: count@^1, with: { n: '${ steps.one.output.n }' } } ]
        wait: [ { id: nap, delay: 5s } ]
  - { id: three, plugin: count@^1, with: { n: '${ steps.one.output.n }' } }
";
const BEAT: &str = "workflow: beat
version: '1'
triggers:
  - { id: beat, interval: 1h }
steps:
  - { id: one, plugin: count@^1, with: { n: 0 } }
";

/// All devices that there can be.
pub(crate) fn devices() -> &'static [DeviceId] {
    static DEVICES: LazyLock<Vec<DeviceId>> = LazyLock::new(|| {
        let name = |n: u32| DeviceId::parse(&format!("pump-{n}")).expect("a name");
        (1..=10).map(name).collect()
    });
    &DEVICES
}

/// A folder in memory, where the system has such.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = match memory.is_dir() {
        true => tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()),
        false => tempfile::tempdir(),
    };
    made.expect("a folder")
}

/// What every control plane begins with: files, with who may read them. In memory, since nobody would
/// remove the folder of a static.
static PREPARED: LazyLock<Vec<(PathBuf, Vec<u8>, Permissions)>> = LazyLock::new(|| {
    let dir = folder();
    let clock = Clock::Manual(Arc::new(AtomicI64::new(START_MS)));
    let module = wat::parse_str(MODULE).expect("a module");
    let (first, second) = (CHAIN.replace('V', "1"), CHAIN.replace('V', "2"));
    let workflows = [first.as_str(), &second, BEAT];
    let setup = Setup { devices: devices(), plugin: (MANIFEST, &module), workflows: &workflows };
    prepare(dir.path(), clock, &setup).expect("a control plane");
    let (mut files, mut open) = (Vec::new(), vec![dir.path().to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("a folder").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(dir.path()).expect("within it").to_owned();
            let permissions = path.metadata().expect("a file").permissions();
            files.push((name, fs::read(&path).expect("a file"), permissions));
        }
    }
    files
});

/// The folder of one control plane.
pub(crate) struct Ground {
    dir: TempDir,
    /// Of the control plane that was started on it.
    pub(crate) generation: u64,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let dir = folder();
        for (name, bytes, permissions) in PREPARED.iter() {
            let path = dir.path().join(name);
            path.parent().map_or(Ok(()), fs::create_dir_all).expect("a folder");
            fs::write(&path, bytes).expect("a file");
            fs::set_permissions(&path, permissions.clone()).expect("a file");
        }
        Self { dir, generation: 0 }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// An acknowledgement of all the results that a device has, where this frame carries results.
pub(crate) fn forged_ack(frame: &[u8], device: &Device, generation: u64) -> Option<Vec<u8>> {
    let Ok(Frame::Batch { lane: Lane::Results, .. }) = wire::unpack(Kind::Frame, frame, usize::MAX)
    else {
        return None;
    };
    let upto = device.next(Lane::Results) - 1;
    let cursor = Cursor { lane: Lane::Results, upto, digest: 0, ranges: Vec::new() };
    Some(wire::pack(Kind::Frame, &Frame::Ack { log: device.log(), by: generation, cursor }))
}
