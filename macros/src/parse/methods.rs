//! `#[methods]` on an actor's impl.

use super::{
    Errors, Refusal, attributes,
    callee::Callee,
    checkpoint,
    function::{self, Scope},
    names, options,
    role::{self, Role},
    streams, types,
};
use crate::model::{Concurrency, Constructor, Every, Group, Method, Methods, OnStop, Reply, Restore, Save, Target};
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident};
use std::collections::BTreeMap;
use std::time::Duration;
use syn::{
    GenericParam, Ident, ImplItem, Item, ItemImpl, Meta, PathArguments, Token, Type, ext::IdentExt,
    punctuated::Punctuated, spanned::Spanned,
};

/// A method holds its group by one byte.
const GROUPS: usize = 255;

pub(crate) fn methods(given: TokenStream, item: TokenStream) -> Result<Methods, Refusal> {
    let mut errors = Errors::default();
    let options = options_of(given, &mut errors);
    let item = match syn::parse2(item.clone()) {
        Ok(Item::Impl(item)) => item,
        Ok(other) => {
            let (span, what) = match other {
                Item::Trait(other) => (other.trait_token.span, "a trait: messages belong to one actor"),
                Item::Struct(other) => {
                    (other.struct_token.span, "a struct: put `#[actor]` there, and `#[methods]` on its impl")
                }
                _ => (Span::call_site(), "this item"),
            };
            let message = format!("`#[methods]` is for the impl of an actor, `impl Counter {{ .. }}`, not for {what}");
            return Err(errors.refuse(syn::Error::new(span, message), item));
        }
        Err(error) => return Err(errors.refuse(error, item)),
    };
    match target(&item) {
        Ok(actor) => understood(item, actor, options, errors),
        Err(error) => Err(errors.refuse(error, stripped(item))),
    }
}

fn understood(
    mut item: ItemImpl,
    actor: Target,
    Options { concurrency, retries, every }: Options,
    mut errors: Errors,
) -> Result<Methods, Refusal> {
    let whole = item.clone();
    let names: Option<Vec<String>> =
        concurrency.as_ref().map(|concurrency| concurrency.groups.iter().map(|group| group.name.clone()).collect());
    let mut scope = Scope { callee: Callee::Actor(&actor.ty), groups: names.as_deref(), messages: BTreeMap::new() };
    let mut found = Found::default();
    for function in item.items.iter_mut().filter_map(as_function) {
        found.add(function, &actor.ty, &mut scope, &mut errors);
    }
    let Found { constructors, has_constructor, mut methods, on_stop, saves, restores } = found;
    let checkpoint = checkpoint::of(saves, restores, every, &mut errors);
    for method in &mut methods {
        let whole = !matches!(method.reply, Reply::Stream(_));
        method.retries = method.retries.or(retries.filter(|_| whole));
    }
    if !has_constructor {
        errors.at(
            &item.self_ty,
            "an actor is made where it is placed: mark a function that returns `Self` or `Result<Self, E>` with `#[constructor]`",
        );
    }
    let constructors = named_spawns(constructors, &mut errors);
    names::check(&constructors, &methods, &on_stop, &item, &mut errors);
    let attributes = attributes::shared_with(&item.attrs);
    let methods = Methods { item, attributes, actor, concurrency, constructors, methods, on_stop, checkpoint };
    errors.finish(methods, || stripped(whole))
}

fn as_function(item: &mut ImplItem) -> Option<&mut syn::ImplItemFn> {
    match item {
        ImplItem::Fn(function) => Some(function),
        _ => None,
    }
}

#[derive(Default)]
struct Found {
    /// With whether it is the default.
    constructors: Vec<(Constructor, bool)>,
    /// Also when it was not understood.
    has_constructor: bool,
    methods: Vec<Method>,
    on_stop: Vec<OnStop>,
    /// Of which what was not understood is `None`.
    saves: Vec<(Ident, Option<Save>)>,
    restores: Vec<(Ident, Option<Restore>)>,
}

impl Found {
    fn add(&mut self, item: &mut syn::ImplItemFn, actor: &Type, scope: &mut Scope<'_>, errors: &mut Errors) {
        match role::role(item, errors) {
            Role::Private => {}
            Role::OnStop => self.on_stop.extend(function::on_stop(item, scope, errors)),
            Role::Checkpoint => {
                let save = checkpoint::save(item, scope, errors);
                self.saves.push((item.sig.ident.clone(), save));
            }
            Role::Restore => {
                let restore = checkpoint::restore(item, actor, scope, errors);
                self.restores.push((item.sig.ident.clone(), restore));
            }
            Role::Constructor { is_default } => {
                self.has_constructor = true;
                let constructor = function::constructor(item, actor, scope, errors);
                self.constructors.extend(constructor.map(|constructor| (constructor, is_default)));
            }
            Role::Method(options) => {
                self.methods.extend(function::method(item, &options, scope, errors));
                streams::let_outlive(&mut item.sig.output);
            }
        }
    }
}

/// The constructors with `spawn` given to the default one and `spawn_<name>` to the others.
fn named_spawns(found: Vec<(Constructor, bool)>, errors: &mut Errors) -> Vec<Constructor> {
    let is_only = found
        .iter()
        .all(|(constructor, _)| Some(&constructor.function.ident) == found.first().map(|(f, _)| &f.function.ident));
    let mut defaults = found.iter().filter(|(_, is_default)| *is_default).map(|(constructor, _)| &constructor.function);
    match (defaults.next(), defaults.find(|second| second.attributes.cfgs.is_empty())) {
        (_, Some(second)) => {
            errors.at(&second.ident, "one constructor gives `spawn`: leave `default` away on the others")
        }
        (None, None) if !is_only => errors.at(
            &found[0].0.function.ident,
            "of several constructors one gives `spawn`, the others `spawn_<name>`: mark it `#[constructor(default)]`",
        ),
        _ => {}
    }
    let named = found.into_iter().map(|(mut constructor, is_default)| {
        let ident = &constructor.function.ident;
        constructor.spawn = match is_default || is_only {
            true => Ident::new("spawn", ident.span()),
            false => format_ident!("spawn_{}", ident),
        };
        constructor
    });
    named.collect()
}

/// The type that the impl is for.
fn target(item: &ItemImpl) -> syn::Result<Target> {
    let refused = |tokens: &dyn ToTokens, message: &str| Err(syn::Error::new_spanned(tokens, message));
    if let Some((path, _)) = &item.trait_ {
        return refused(
            path,
            "an actor's messages are its own: put `#[methods]` on `impl Counter { .. }`, and leave the trait's impl as it is",
        );
    }
    for parameter in &item.generics.params {
        if let GenericParam::Lifetime(lifetime) = parameter {
            return refused(lifetime, "an actor outlives every borrow of who spawned it: let it own what it holds");
        }
    }
    let Type::Path(path) = types::peeled(&item.self_ty) else {
        return refused(
            &item.self_ty,
            "`#[methods]` is for the impl of a struct that is an `#[actor]`: `impl Counter { .. }`",
        );
    };
    let mut handle = path.path.clone();
    let (None, Some(last)) = (&path.qself, handle.segments.last_mut()) else {
        return refused(&item.self_ty, "name the actor by its path: its handle is named after it");
    };
    let has_arguments = !matches!(last.arguments, PathArguments::None);
    last.ident = format_ident!("{}Handle", last.ident);
    let names: Vec<String> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    Ok(Target {
        ty: Type::Path(path.clone()),
        name: names.join("::"),
        handle,
        is_concrete: item.generics.params.is_empty() && !has_arguments,
        generics: item.generics.clone(),
    })
}

/// What is said of the impl as a whole.
struct Options {
    concurrency: Option<Concurrency>,
    retries: Option<u8>,
    /// With the option that says so.
    every: Option<(Meta, Every)>,
}

/// The longest time between two checkpoints by themselves.
const EVERY: Duration = Duration::from_secs(24 * 3_600);

fn options_of(given: TokenStream, errors: &mut Errors) -> Options {
    let (mut limit, mut named, mut span, mut retries, mut every) = (None, Vec::new(), None, None, None);
    for option in options::of_macro(given, errors) {
        if option.path().is_ident("concurrency") {
            limit = options::count(&option, errors);
            span = span.or(Some(option.path().span()));
        } else if option.path().is_ident("groups") {
            named = groups(&option, errors);
            span = Some(option.path().span());
        } else if option.path().is_ident("retries") {
            retries = options::retries(&option, errors);
        } else if option.path().is_ident("checkpoint_every") {
            every = options::every(&option, EVERY, errors).map(|every| (option, every));
        } else {
            const KNOWN: &str =
                "`concurrency = 8`, `groups(io = 4, compute = 2)`, `retries = 3` and `checkpoint_every = 100`";
            options::unknown(&option, KNOWN, errors);
        }
    }
    let limit = limit.unwrap_or(1);
    if limit == 1 && named.is_empty() {
        return Options { concurrency: None, retries, every };
    }
    let mut groups = vec![Group { name: DEFAULT.to_owned(), limit }];
    groups.extend(named);
    Options { concurrency: span.map(|span| Concurrency { span, groups }), retries, every }
}

/// The group of methods that name none.
const DEFAULT: &str = "default";

fn groups(option: &Meta, errors: &mut Errors) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let Meta::List(list) = option else {
        errors.at(option, "groups are named with their limits: `groups(io = 4, compute = 2)`");
        return groups;
    };
    let parsed = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    for group in errors.take(parsed).into_iter().flatten() {
        let Some(name) = group.path().get_ident().map(|name| name.unraw().to_string()) else {
            errors.at(group.path(), "a group's name is one word: `groups(io = 4)`");
            continue;
        };
        if name == DEFAULT {
            errors.at(
                group.path(),
                "this is the group of methods that name none: write `concurrency = 8` beside `groups(..)`",
            );
        } else if groups.iter().any(|earlier| earlier.name == name) {
            errors.at(group.path(), "this group is declared twice: keep one of them");
        } else if groups.len() == GROUPS {
            errors.at(group.path(), format!("there are at most {GROUPS} groups: leave some away"));
        } else {
            groups.extend(options::count(&group, errors).map(|limit| Group { name, limit }));
        }
    }
    groups
}

/// The impl without our attributes, which nobody else would understand.
fn stripped(mut item: ItemImpl) -> TokenStream {
    for function in item.items.iter_mut().filter_map(as_function) {
        attributes::strip_ours(&mut function.attrs);
    }
    item.into_token_stream()
}
