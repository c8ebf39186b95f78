//! Whose function it is that takes parameters and gives a reply, and the words that errors have for it.

use syn::Type;

#[derive(Clone, Copy)]
pub(super) enum Callee<'a> {
    /// The actor's type.
    Actor(&'a Type),
    Task,
}

/// What errors say of a callee.
pub(super) struct Words {
    /// "the `callee`".
    pub(super) callee: &'static str,
    /// Who runs the function.
    pub(super) who: &'static str,
    /// What the arguments are part of.
    pub(super) message: &'static str,
    /// That the arguments are its own.
    pub(super) owns: &'static str,
    pub(super) reply: &'static str,
    pub(super) context: &'static str,
    pub(super) take_context: &'static str,
    /// What to take instead of an `impl Trait`.
    pub(super) name_type: &'static str,
    /// What else there is where a return type must be known.
    pub(super) or_stream: &'static str,
    pub(super) never_ends: &'static str,
    /// How not to be one.
    pub(super) opt_out: &'static str,
    pub(super) no_foreign: &'static str,
    /// What a function is called here.
    pub(super) function: &'static str,
}

const ACTOR: Words = Words {
    callee: "actor",
    who: "an actor",
    message: "a message",
    owns: "a message owns what it carries",
    reply: "a reply",
    context: "ActorContext",
    take_context: "take the context as `&mut ActorContext<Self>`",
    name_type: "a message has one type: write it out, or give the actor a type parameter (`impl<T: Message> Shelf<T>`)",
    or_stream: ", or `impl Stream<Item = T>` for a stream of replies",
    never_ends: "a call that never ends has no reply: return `()`",
    opt_out: "leave `pub` away",
    no_foreign: "a message is no foreign call: leave `extern` away, here or together with `pub`",
    function: "method",
};

const TASK: Words = Words {
    callee: "task",
    who: "a task",
    message: "a task",
    owns: "a task owns what it is given",
    reply: "a result",
    context: "TaskContext",
    take_context: "take the context as `&TaskContext`",
    name_type: "the caller must know this type: write it out, or give the function a type parameter \
                (`fn total<T: Message>(items: Vec<T>)`)",
    or_stream: ", or `impl Stream<Item = T>` for a stream of results",
    never_ends: "a task that never ends has no result: return `()`",
    opt_out: "leave `#[task]` away",
    no_foreign: "a task is no foreign call: leave `extern` away, here or together with `#[task]`",
    function: "function",
};

impl Callee<'_> {
    pub(super) fn words(self) -> &'static Words {
        match self {
            Callee::Actor(_) => &ACTOR,
            Callee::Task => &TASK,
        }
    }
}
