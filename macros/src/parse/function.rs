//! One function of an actor's impl, or one that is a task.

use super::{
    Errors, attributes,
    callee::{Callee, Words},
    role::MethodOptions,
    types::{self, Parameter, Results, Returned},
};
use crate::model::{Argument, Call, Cancel, Constructor, Function, Input, Method, OnStop, Passing, Reply, Run};
use proc_macro2::Span;
use quote::{ToTokens, format_ident};
use std::collections::BTreeMap;
use syn::{
    Attribute, FnArg, GenericParam, Ident, ImplItemFn, ItemFn, Meta, Pat, PatType, Receiver, ReceiverKind, ReturnType,
    Safety, Signature, Type, Visibility, WherePredicate, ext::IdentExt,
};

/// The most parameters of a message: it is encoded as a tuple, of which serde knows these.
const PARAMETERS: usize = 16;

/// What a function is understood in.
pub(super) struct Scope<'a> {
    pub(super) callee: Callee<'a>,
    /// The groups by name, in the order of their indices; `None` when one call runs at a time.
    pub(super) groups: Option<&'a [String]>,
    /// The names given to messages so far, and the functions that they were given to.
    pub(super) messages: BTreeMap<String, Ident>,
}

/// How the actor comes to a function.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Access {
    Mutable,
    Shared,
}

pub(super) fn method(
    item: &ImplItemFn,
    options: &MethodOptions,
    scope: &mut Scope<'_>,
    errors: &mut Errors,
) -> Option<Method> {
    let access = match item.sig.receiver() {
        Some(receiver) => access(receiver, errors),
        None => {
            errors.at(
                &item.sig.ident,
                "a message goes to an actor that exists: take `&mut self` or `&self`, mark it `#[constructor]`, or leave `pub` away",
            );
            None
        }
    };
    let returned = returned(&item.sig, options.plain.as_ref(), scope, errors);
    let call = call(&item.sig);
    if let (Some(option), Call::Async) = (&options.blocking, call) {
        errors.at(
            option,
            "an asynchronous method must not block: make it `fn` instead of `async fn`, or leave `blocking` away",
        );
    }
    if let (Some(option), Call::Sync) = (&options.cancel, call) {
        errors.at(option, "a synchronous method has no await at which it could be dropped: make it `async fn`, or leave `cancel` away");
    }
    let run = run(access, options, scope, errors);
    let spelled = returned.as_ref().map_or("", |returned| &returned.spelled);
    let mut function = function(Parts::of_impl(item), spelled, scope, errors)?;
    let Returned { reply, error, .. } = returned?;
    if let Some(name) = &options.name {
        function.name = name.value();
    }
    let cancel = if options.cancel.is_some() { Cancel::Drop } else { Cancel::Finish };
    if let (Some(1..), Reply::Stream(_)) = (options.retries, &reply) {
        errors
            .at(&item.sig.ident, "a stream is not tried again, for its items may have been used: leave `retries` away");
    }
    Some(Method { function, run: run?, cancel, retries: options.retries, reply, error })
}

/// `spawn` is named once all constructors are known.
pub(super) fn constructor(
    item: &ImplItemFn,
    actor: &Type,
    scope: &mut Scope<'_>,
    errors: &mut Errors,
) -> Option<Constructor> {
    if let Some(receiver) = item.sig.receiver() {
        errors.at(receiver, "a constructor makes the actor: take parameters instead of `self`");
    }
    let made = types::made(&output(&item.sig, scope), actor, &item.sig.ident, errors);
    let spelled = made.as_ref().map_or("", |made| &made.spelled);
    let function = function(Parts::of_impl(item), spelled, scope, errors)?;
    Some(Constructor { spawn: format_ident!("spawn"), function, error: made?.error })
}

pub(super) fn on_stop(item: &ImplItemFn, scope: &Scope<'_>, errors: &mut Errors) -> Option<OnStop> {
    const SHAPE: &str = "write `fn on_stop(&mut self)`, with `&mut ActorContext<Self>` if it is needed";
    match item.sig.receiver().map(|receiver| access(receiver, errors)) {
        Some(Some(Access::Mutable) | None) => {}
        Some(Some(Access::Shared)) => {
            errors.at(item.sig.receiver(), format!("a stopping actor has no other user: {SHAPE}"))
        }
        None => errors.at(&item.sig.ident, format!("this runs on the actor that stops: {SHAPE}")),
    }
    if let ReturnType::Type(_, ty) = &item.sig.output
        && !matches!(types::peeled(ty), Type::Tuple(unit) if unit.elems.is_empty())
    {
        errors.at(ty, "nobody waits for what this returns: return nothing, and log what went wrong");
    }
    check_callable(&item.sig, scope.callee, errors);
    let inputs = inputs(&item.sig, scope, errors);
    for (input, given) in inputs.iter().zip(item.sig.inputs.iter().filter(|input| matches!(input, FnArg::Typed(_)))) {
        if let Input::Argument(_) = input {
            errors.at(given, format!("nobody could pass this: {SHAPE}"));
        }
    }
    Some(OnStop { ident: item.sig.ident.clone(), cfgs: attributes::cfgs(&item.attrs), call: call(&item.sig), inputs })
}

/// A function that is a task, and what it gives back.
pub(super) fn task(item: &ItemFn, plain: Option<&Meta>, errors: &mut Errors) -> Option<(Function, Returned)> {
    let mut scope = Scope { callee: Callee::Task, groups: None, messages: BTreeMap::new() };
    if let Some(receiver) = item.sig.receiver() {
        errors.at(
            receiver,
            "a task is a function of its own: move it out of the impl, and take what it needs as parameters",
        );
    }
    let returned = returned(&item.sig, plain, &scope, errors);
    let spelled = returned.as_ref().map_or("", |returned| &returned.spelled);
    let parts = Parts { attributes: &item.attrs, vis: &item.vis, signature: &item.sig };
    let function = function(parts, spelled, &mut scope, errors)?;
    Some((function, returned?))
}

/// What a function has wherever it stands.
struct Parts<'a> {
    attributes: &'a [Attribute],
    vis: &'a Visibility,
    signature: &'a Signature,
}

impl<'a> Parts<'a> {
    fn of_impl(item: &'a ImplItemFn) -> Self {
        Parts { attributes: &item.attrs, vis: &item.vis, signature: &item.sig }
    }
}

fn function(parts: Parts<'_>, returns: &str, scope: &mut Scope<'_>, errors: &mut Errors) -> Option<Function> {
    let Parts { attributes, vis, signature } = parts;
    check_callable(signature, scope.callee, errors);
    let inputs = inputs(signature, scope, errors);
    let arguments: Vec<&Argument> = inputs.iter().filter_map(Input::argument).collect();
    if arguments.len() > PARAMETERS {
        let message = scope.callee.words().message;
        errors.at(
            &signature.inputs,
            format!("{message} has at most {PARAMETERS} parameters: put some of them into a struct"),
        );
        return None;
    }
    let parameters: Vec<String> = arguments.iter().map(|argument| argument.spelled(scope.callee)).collect();
    Some(Function {
        ident: signature.ident.clone(),
        name: signature.ident.unraw().to_string(),
        message: scope.message(&signature.ident),
        vis: vis.clone(),
        attributes: attributes::shared_with(attributes),
        call: call(signature),
        signature: format!("({}) -> {returns}", parameters.join(", ")),
        inputs,
    })
}

impl Scope<'_> {
    /// A type's name for the function's message, which no other function's has; twins under `#[cfg]` share it.
    fn message(&mut self, function: &Ident) -> Ident {
        let words = function.unraw().to_string();
        let mut name = String::from("__");
        for word in words.split('_') {
            let mut letters = word.chars();
            name.extend(letters.next().into_iter().flat_map(char::to_uppercase).chain(letters));
        }
        while self.messages.get(&name).is_some_and(|owner| owner != function) {
            name.push('_');
        }
        self.messages.insert(name.clone(), function.clone());
        // Errors about the message stand at the function.
        Ident::new(&name, function.span().resolved_at(Span::mixed_site()))
    }
}

impl Argument {
    fn spelled(&self, callee: Callee<'_>) -> String {
        let borrow = if self.passing == Passing::Borrowed { "&" } else { "" };
        format!("{borrow}{}", types::spelled(&self.ty, callee))
    }
}

pub(super) fn call(signature: &Signature) -> Call {
    if signature.asyncness.is_some() { Call::Async } else { Call::Sync }
}

pub(super) fn output(signature: &Signature, scope: &Scope<'_>) -> ReturnType {
    let mut output = signature.output.clone();
    if let ReturnType::Type(_, ty) = &mut output {
        types::resolve_self(ty, scope.callee);
    }
    output
}

fn run(access: Option<Access>, options: &MethodOptions, scope: &Scope<'_>, errors: &mut Errors) -> Option<Run> {
    let group = match (&options.group, access, scope.groups) {
        (None, ..) => 0,
        (Some(group), Some(Access::Mutable), _) => {
            errors.at(
                group,
                "a `&mut self` method runs alone, so that no group limits it: take `&self`, or leave `group` away",
            );
            0
        }
        (Some(group), _, groups) => {
            let known = groups.unwrap_or_default();
            known.iter().position(|name| *name == group.value()).unwrap_or_else(|| {
                errors.at(group, unknown_group(&group.value(), known));
                0
            })
        }
    };
    let group = u8::try_from(group).ok()?;
    let is_shared = access? == Access::Shared && scope.groups.is_some();
    Some(match (is_shared, options.blocking.is_some()) {
        (true, true) => Run::BlockingShared { group },
        (true, false) => Run::Shared { group },
        (false, true) => Run::Blocking,
        (false, false) => Run::Exclusive,
    })
}

fn unknown_group(name: &str, known: &[String]) -> String {
    let known = match known {
        [] => String::new(),
        known => format!(" (there are `{}`)", known.join("`, `")),
    };
    format!("there is no group of this name{known}: declare it by `#[methods(groups({name} = 4))]`")
}

pub(super) fn returned(
    signature: &Signature,
    plain: Option<&Meta>,
    scope: &Scope<'_>,
    errors: &mut Errors,
) -> Option<Returned> {
    let results = if plain.is_some() { Results::Plain } else { Results::Flattened };
    let returned = types::returned(&output(signature, scope), results, scope.callee, errors);
    if let Some(option) = plain
        && !types::is_called_result(&signature.output)
    {
        errors.at(option, "`plain` is about return types called `Result`, and this one is not: leave it away");
    }
    returned
}

pub(super) fn access(receiver: &Receiver, errors: &mut Errors) -> Option<Access> {
    let mutability = match &receiver.kind {
        ReceiverKind::Reference(_, _, mutability) => Some(mutability.is_some()),
        ReceiverKind::Typed(_, ty) => match types::peeled(ty) {
            Type::Reference(reference) if types::is_self_type(&reference.elem) => Some(reference.mutability.is_some()),
            _ => None,
        },
        _ => None,
    };
    match mutability {
        Some(true) => Some(Access::Mutable),
        Some(false) => Some(Access::Shared),
        None => {
            errors.at(receiver, "an actor stays where it is: take `&mut self` or `&self`");
            None
        }
    }
}

/// Refuses what generated code could not call, or not once for all.
pub(super) fn check_callable(signature: &Signature, callee: Callee<'_>, errors: &mut Errors) {
    let Words { message, opt_out, no_foreign, .. } = callee.words();
    if let Safety::Unsafe(token) = &signature.safety {
        errors.at(
            token,
            format!("a caller far away cannot uphold what an unsafe function asks for: make it safe, or {opt_out}"),
        );
    }
    if let Some(abi) = &signature.abi {
        errors.at(abi, no_foreign);
    }
    if let Some(variadic) = &signature.variadic {
        errors.at(variadic, format!("{message} has a fixed number of parameters: take a `Vec<T>`"));
    }
    match callee {
        Callee::Actor(_) => check_not_generic(signature, errors),
        Callee::Task => check_no_lifetimes(signature, errors),
    }
}

fn check_not_generic(signature: &Signature, errors: &mut Errors) {
    for parameter in &signature.generics.params {
        if !matches!(parameter, GenericParam::Lifetime(_)) {
            errors.at(
                parameter,
                "a message has one type: give the parameter to the actor (`impl<T: Message> Shelf<T>`), or write a method for each type",
            );
        }
    }
    let predicates = signature.generics.where_clause.iter().flat_map(|clause| &clause.predicates);
    for predicate in predicates.filter(|predicate| !matches!(predicate, WherePredicate::Lifetime(_))) {
        errors.at(predicate, "a message exists for every type that the impl is for: move this bound to the impl");
    }
}

/// A task's generics are also those of the types beside it, which own their arguments.
fn check_no_lifetimes(signature: &Signature, errors: &mut Errors) {
    for parameter in &signature.generics.params {
        if let GenericParam::Lifetime(lifetime) = parameter {
            errors.at(
                lifetime,
                "a task is lent its arguments for as long as it runs, and its result borrows nothing: leave this away, and \
                 write `&T` for each",
            );
        }
    }
}

pub(super) fn inputs(signature: &Signature, scope: &Scope<'_>, errors: &mut Errors) -> Vec<Input> {
    let mut inputs: Vec<Input> = Vec::new();
    for input in &signature.inputs {
        let FnArg::Typed(input) = input else { continue };
        check_attributes(&input.attrs, scope.callee, errors);
        let mut ty = (*input.ty).clone();
        types::resolve_self(&mut ty, scope.callee);
        match types::parameter(&ty, scope.callee, errors) {
            Some(Parameter::Context) if inputs.iter().any(|earlier| matches!(earlier, Input::Context)) => {
                errors.at(input, "there is one context: leave this one away");
            }
            Some(Parameter::Context) => inputs.push(Input::Context),
            Some(Parameter::Message(ty, passing)) => {
                let position = inputs.iter().filter_map(Input::argument).count();
                inputs.push(Input::Argument(Argument { name: name(input, position), ty, passing }));
            }
            None => {}
        }
    }
    inputs
}

/// What the generated function calls a parameter; a pattern has no name.
fn name(input: &PatType, position: usize) -> Ident {
    match &*input.pat {
        Pat::Ident(pattern) => pattern.ident.clone(),
        _ => format_ident!("_{position}"),
    }
}

fn check_attributes(attributes: &[Attribute], callee: Callee<'_>, errors: &mut Errors) {
    let Words { message, function, .. } = callee.words();
    for attribute in attributes::cfgs(attributes) {
        errors.at(
            attribute.to_token_stream(),
            format!("{message} has the same parameters everywhere: put `#[cfg(..)]` on the whole {function}"),
        );
    }
}
