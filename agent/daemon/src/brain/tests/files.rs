//! Files that fire, on a disk that can lose its power.

use openclaw_agent_core::{FileStat, Listing};
use openclaw_protocol::id::{TriggerId, WorkflowName};

use super::*;

const TEXT: &str = "workflow: came\nmode: parallel\nmax: 9\ntriggers:\n  - { id: t, file: { path: \
                    inbox/*, settle: 0 }, inputs: { what: '${ trigger.event + trigger.file }' } }\n\
                    inputs: { what: { type: string } }\nsteps:\n  - { id: a, set: { x: 1 } }\n\
                    outputs: { what: '${ inputs.what }' }\n";

type Dir<'d> = &'d [(&'d str, u64)];

fn list(device: &mut Device, files: Dir<'_>) -> Result<(), StoreError> {
    let stat = |size: u64| FileStat { size, modified_ns: 7 };
    device.turn(vec![Event::Files(Listing {
        workflow: WorkflowName::parse("came").unwrap(),
        trigger: TriggerId::parse("t").unwrap(),
        path: "inbox/*".to_owned(),
        files: Some(files.iter().map(|(name, size)| ((*name).to_owned(), stat(*size))).collect()),
    })])
}

fn told(device: &Device) -> Vec<String> {
    let results = device.results().into_iter();
    let mut told: Vec<String> =
        results.map(|one| one.outputs.value()["what"].as_str().unwrap().to_owned()).collect();
    told.sort();
    told
}

/// What is in the directory, one look after the other.
const STAGES: [Dir<'_>; 4] =
    [&[], &[("a", 1)], &[("a", 1), ("b", 1), ("c", 1)], &[("a", 1), ("b", 2), ("c", 1)]];

/// One life: until all has been seen, or the power is gone.
fn live(device: &mut Device, stage: &mut usize) -> Result<(), StoreError> {
    device.start()?;
    while let Some(files) = STAGES.get(*stage) {
        list(device, files)?;
        *stage += 1;
    }
    Ok(())
}

#[test]
fn a_power_cut_at_any_sync_loses_no_file_and_doubles_none() {
    let expected = ["createda", "createdb", "createdc", "modifiedb"];
    let mut cuts = 0;
    for seed in 0..3 {
        for cut in 1.. {
            let mut device = Device::new(100 * seed + cut, vec![deployed(TEXT)]);
            device.disk.cut_at_sync(cut);
            let (mut stage, mut went) = (0, false);
            while let Err(e) = live(&mut device, &mut stage) {
                went = true;
                device.survive(&e);
            }
            assert_eq!(told(&device), expected, "cut {cut}");
            device.brain = None;
            device.disk.cut();
            device.disk.revive();
            device.start().unwrap();
            list(&mut device, STAGES[3]).unwrap();
            assert_eq!(told(&device), expected, "cut {cut}: nothing fires again");
            if !went {
                break;
            }
            cuts += 1;
        }
    }
    assert!(cuts > 15, "{cuts} cuts");
}

#[test]
fn a_workflow_without_its_directory_is_refused() {
    let offers = |files: &[String]| {
        let webhook = crate::webhook::Offer::default();
        let offers = crate::offers::Offers { files, mqtt: false, webhook };
        offers.lacks(&deployed(TEXT).workflow)
    };
    let (code, message) = offers(&["proc".to_owned()]).unwrap();
    assert_eq!(code, "files.missing");
    assert!(message.contains("`inbox`") && message.contains("[files]"), "{message}");
    assert_eq!(offers(&["inbox".to_owned()]), None);
}
