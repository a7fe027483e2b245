//! Steps under way: what each kind keeps.

use super::bytes::{Reader, Stored, Writer, choice, record};
use crate::scope::Choice;
use crate::step::{
    Active, Asked, Call, Each, Ended, Looping, Parallel, Part, Saga, Source, Trying, Waiting, Work,
};

record!(Active {
    attempt,
    retries,
    since,
    is_final,
    closing,
    interrupted,
    durable_start,
    deaths,
    died_in,
    started,
    work,
});
choice!(Work, else Self::None;
    0 None, 1 Plugin(call), 2 Choice(choice, result, child), 3 Delay(wait_ms), 4 Parallel(parallel),
    5 Loop(looping), 6 Foreach(each), 7 Try(trying), 8 Sequence(saga), 9 Wait(waiting),
    10 Approval(asked), 11 Call(child));
choice!(Choice, else Self::Truth(false); 0 Truth(answer), 1 Case(case));

record!(Call { pin, export, input, key });
record!(Parallel { snapshot, running, next, ended, verdict, first_error });
record!(Ended { output, view, scope });
record!(Looping { index, times, items, items_bytes, child, beat });
record!(Each {
    items,
    snapshot,
    running,
    next,
    results,
    results_bytes,
    exports,
    ended,
    failed,
    failure,
    first_error,
});
record!(Trying { part, child, outcome });
choice!(Part, else Self::Body; 0 Body, 1 Catch, 2 Finally);
record!(Saga { child, undoing });
record!(Waiting { source, heard });
choice!(Source, else Self::Event("".into()); 0 Mqtt(filter, qos), 1 Event(name), 2 Signal(name));
record!(Asked { details });
