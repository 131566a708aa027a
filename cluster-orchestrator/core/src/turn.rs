//! One turn: a batch of inputs, and everything that follows from it.

use model::time::Now;

use crate::{Decision, Input, State, Write};

/// Decides a batch one after another on the working state, then reconciles until nothing is left to do.
///
/// The answer has the durable writes only. The caller commits them and only then performs the actions; if the commit fails it
/// rebuilds the state from its store.
pub fn turn(state: &mut State, now: Now, inputs: impl IntoIterator<Item = Input>) -> Decision {
    turn_of(state, now, &inputs.into_iter().collect::<Vec<_>>())
}

/// The same of inputs that the caller keeps.
pub fn turn_of(state: &mut State, now: Now, inputs: &[Input]) -> Decision {
    let mut total = Decision::default();
    let mut take = |state: &mut State, mut decision: Decision| {
        let idle = decision.is_empty();
        state.number_events(now, &mut decision.writes);
        state.apply(now, &decision.writes);
        // What need not survive is in the state now, and nobody's business any more.
        let durable = decision.writes.into_iter().filter(Write::is_durable);
        total.writes.extend(durable);
        total.actions.extend(decision.actions);
        idle
    };
    let outage = state.own_outage(now);
    take(state, outage);
    for input in inputs {
        let decision = state.decide(now, input);
        take(state, decision);
    }
    loop {
        let decision = state.decide(now, &Input::Reconcile);
        if take(state, decision) {
            return total;
        }
    }
}
