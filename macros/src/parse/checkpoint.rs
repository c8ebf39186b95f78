//! `#[checkpoint]` and `#[restore]`: how an actor's state is saved, and the actor made again of it.

use super::{
    Errors, attributes,
    function::{self, Access, Scope},
    types::{self, Returned},
};
use crate::model::{Call, Checkpoint, Every, Input, Passing, Reply, Restore, Save};
use syn::{FnArg, Ident, ImplItemFn, Meta, ReturnType, Type};

const SAVES: &str = "write `fn save(&self) -> Saved`, where `Saved` is what `#[restore]` makes the actor of";
const RESTORES: &str = "write `fn restored(saved: Saved) -> Self`, with `&mut ActorContext<Self>` if it is needed";

pub(super) fn save(item: &ImplItemFn, scope: &Scope<'_>, errors: &mut Errors) -> Option<Save> {
    match item.sig.receiver().map(|receiver| function::access(receiver, errors)) {
        Some(Some(Access::Shared) | None) => {}
        Some(Some(Access::Mutable)) => {
            errors.at(item.sig.receiver(), format!("to save an actor changes nothing: {SAVES}"));
        }
        None => errors.at(&item.sig.ident, format!("this saves the actor that there is: {SAVES}")),
    }
    for input in item.sig.inputs.iter().filter(|input| matches!(input, FnArg::Typed(_))) {
        errors.at(input, format!("nobody could pass this: {SAVES}"));
    }
    if function::call(&item.sig) == Call::Async {
        errors.at(item.sig.asyncness, format!("what is saved is the state at one moment: {SAVES}"));
    }
    let is_unit = |ty: &Type| matches!(types::peeled(ty), Type::Tuple(unit) if unit.elems.is_empty());
    match &item.sig.output {
        ReturnType::Default => errors.at(&item.sig.ident, format!("this says nothing of the state: {SAVES}")),
        ReturnType::Type(_, ty) if is_unit(ty) => errors.at(ty, format!("this says nothing of the state: {SAVES}")),
        ReturnType::Type(..) => {}
    }
    function::check_callable(&item.sig, scope.callee, errors);
    let Returned { reply, error, .. } = function::returned(&item.sig, None, scope, errors)?;
    if let Reply::Stream(_) = reply {
        errors.at(&item.sig.output, format!("what is saved is the state at one moment: {SAVES}"));
        return None;
    }
    Some(Save { ident: item.sig.ident.clone(), cfgs: attributes::cfgs(&item.attrs), reply, error })
}

pub(super) fn restore(item: &ImplItemFn, actor: &Type, scope: &Scope<'_>, errors: &mut Errors) -> Option<Restore> {
    if let Some(receiver) = item.sig.receiver() {
        errors.at(receiver, format!("this makes the actor: {RESTORES}"));
        return None;
    }
    function::check_callable(&item.sig, scope.callee, errors);
    let made = types::made(&function::output(&item.sig, scope), actor, &item.sig.ident, errors);
    let inputs = function::inputs(&item.sig, scope, errors);
    let mut given = inputs.iter().filter_map(Input::argument);
    match (given.next(), given.next()) {
        (Some(saved), None) if saved.passing == Passing::Owned => {}
        _ => {
            errors.at(&item.sig.ident, format!("an actor is made again of what was saved, as a whole: {RESTORES}"));
            return None;
        }
    }
    Some(Restore { ident: item.sig.ident.clone(), call: function::call(&item.sig), inputs, error: made?.error })
}

/// What there is of both, each once.
pub(super) fn of(
    saves: Vec<(Ident, Option<Save>)>,
    restores: Vec<(Ident, Option<Restore>)>,
    every: Option<(Meta, Every)>,
    errors: &mut Errors,
) -> Option<Checkpoint> {
    for (second, _) in saves.iter().skip(1) {
        errors.at(second, "an actor has one state to save: keep one `#[checkpoint]`");
    }
    for (second, _) in restores.iter().skip(1) {
        errors.at(second, "an actor is made again in one way: keep one `#[restore]`");
    }
    match (saves.first(), restores.first(), &every) {
        (Some((save, _)), None, _) => errors.at(
            save,
            format!("nothing makes the actor of what this saves: mark a function with `#[restore]`, and {RESTORES}"),
        ),
        (None, Some((restore, _)), _) => errors.at(
            restore,
            format!("nothing is saved that this could be given: mark a method with `#[checkpoint]`, and {SAVES}"),
        ),
        (None, None, Some((option, _))) => errors
            .at(option, format!("nothing says what is to be saved: mark a method with `#[checkpoint]`, and {SAVES}")),
        _ => {}
    }
    let (save, restore) = (saves.into_iter().next()?.1?, restores.into_iter().next()?.1?);
    Some(Checkpoint { save, restore, every: every.map_or(Every::Asked, |(_, every)| every) })
}
