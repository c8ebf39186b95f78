//! What may stand as a parameter's and as a return type.

use super::{
    Errors,
    callee::{Callee, Words},
    streams,
};
use crate::{
    model::{Fault, Passing, Probe, Reply},
    signature::spell,
};
use quote::ToTokens;
use syn::{
    Expr, ExprPath, GenericArgument, Ident, Lifetime, Path, PathArguments, PathSegment, QSelf, ReturnType, Type,
    TypePath, TypeReference, parse_quote, parse_quote_spanned,
    spanned::Spanned,
    visit::{self, Visit},
    visit_mut::{self, VisitMut},
};

/// The type without parentheses and without the invisible groups of `macro_rules!`.
pub(super) fn peeled(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => peeled(&group.elem),
        Type::Paren(paren) => peeled(&paren.elem),
        ty => ty,
    }
}

pub(super) fn peeled_mut(ty: &mut Type) -> &mut Type {
    match ty {
        Type::Group(group) => peeled_mut(&mut group.elem),
        Type::Paren(paren) => peeled_mut(&mut paren.elem),
        ty => ty,
    }
}

fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match peeled(ty) {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    }
}

fn is_context(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident == "ActorContext" || segment.ident == "TaskContext")
}

/// Writes the actor's type for `Self`, which means another type in the generated impls.
pub(super) fn resolve_self(ty: &mut Type, callee: Callee<'_>) {
    if let Callee::Actor(actor) = callee {
        ResolveSelf(actor).visit_type_mut(ty);
    }
}

struct ResolveSelf<'a>(&'a Type);

impl ResolveSelf<'_> {
    /// `Self::Rest` is `<Actor>::Rest`.
    fn qualified(&self, path: &Path) -> Option<(QSelf, Path)> {
        let (first, rest) =
            path.segments.first().zip(path.segments.iter().nth(1).map(|_| path.segments.iter().skip(1)))?;
        let actor = self.0;
        let span = first.ident.span();
        let qself = parse_quote_spanned!(span=> <#actor>::Of);
        let Type::Path(TypePath { qself, .. }) = qself else { return None };
        Some((qself?, parse_quote!(#(::#rest)*))).filter(|_| is_self(path))
    }
}

fn is_self(path: &Path) -> bool {
    path.leading_colon.is_none() && path.segments.first().is_some_and(|first| first.ident == "Self")
}

impl VisitMut for ResolveSelf<'_> {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        if let Type::Path(TypePath { qself: qself @ None, path, .. }) = ty {
            if let Some((actor, rest)) = self.qualified(path) {
                (*qself, *path) = (Some(actor), rest);
            } else if is_self(path) {
                *ty = self.0.clone();
                return;
            }
        }
        visit_mut::visit_type_mut(self, ty);
    }

    fn visit_expr_path_mut(&mut self, expr: &mut ExprPath) {
        if let (None, Some((actor, rest))) = (&expr.qself, self.qualified(&expr.path)) {
            (expr.qself, expr.path) = (Some(actor), rest);
        }
        visit_mut::visit_expr_path_mut(self, expr);
    }
}

/// How a signature names a type: the actor as `Self`, however it was written, and references without lifetimes, of which
/// a message has none.
pub(super) fn spelled(ty: &Type, callee: Callee<'_>) -> String {
    let mut ty = ty.clone();
    let actor = match callee {
        Callee::Actor(actor) => Some(spell(actor)),
        Callee::Task => None,
    };
    Canonical { actor }.visit_type_mut(&mut ty);
    spell(ty)
}

struct Canonical {
    actor: Option<String>,
}

impl VisitMut for Canonical {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        if self.actor.as_ref().is_some_and(|actor| spell(&*ty) == *actor) {
            *ty = parse_quote!(Self);
        }
        if let Type::Reference(reference) = ty {
            reference.lifetime = None;
        }
        visit_mut::visit_type_mut(self, ty);
    }
}

/// What a parameter asks for.
pub(super) enum Parameter {
    Context,
    Message(Type, Passing),
}

pub(super) fn parameter(ty: &Type, callee: Callee<'_>, errors: &mut Errors) -> Option<Parameter> {
    let words = callee.words();
    match peeled(ty) {
        Type::Reference(reference) if is_context(&reference.elem) => {
            let is_lent_mutably = matches!(callee, Callee::Actor(_));
            let is_ours = last_segment(&reference.elem).is_some_and(|given| given.ident == words.context);
            if !is_ours || reference.mutability.is_some() != is_lent_mutably {
                errors.at(ty, words.take_context);
            }
            Some(Parameter::Context)
        }
        Type::Reference(reference) => borrowed(reference, callee, errors),
        owned if is_context(owned) => {
            errors.at(ty, words.take_context);
            Some(Parameter::Context)
        }
        owned => check_owned(owned, Place::Parameter, callee, errors)
            .then(|| Parameter::Message(owned.clone(), Passing::Owned)),
    }
}

fn borrowed(reference: &TypeReference, callee: Callee<'_>, errors: &mut Errors) -> Option<Parameter> {
    let owned = spell(owned_form(&reference.elem));
    if reference.mutability.is_some() {
        let who = callee.words().who;
        let message =
            format!("{who} cannot change what its caller holds: take `{owned}`, and return what became of it");
        errors.at(reference, message);
        return None;
    }
    if reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static") {
        let shared = spell(&reference.elem);
        let message =
            format!("this is lent while the call runs, and not for ever: write `&{shared}`, or take `{owned}`");
        errors.at(reference, message);
        return None;
    }
    check_owned(&reference.elem, Place::Borrowed, callee, errors)
        .then(|| Parameter::Message(peeled(&reference.elem).clone(), Passing::Borrowed))
}

/// The type with what it borrows made its own: what to write instead.
fn owned_form(ty: &Type) -> Type {
    struct Own;
    impl VisitMut for Own {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            if let Type::Reference(reference) = ty {
                *ty = (*reference.elem).clone();
            }
            visit_mut::visit_type_mut(self, ty);
            match ty {
                Type::Path(path) if path.path.is_ident("str") => *ty = parse_quote!(String),
                Type::Slice(slice) => {
                    let item = &slice.elem;
                    *ty = parse_quote!(Vec<#item>);
                }
                _ => {}
            }
        }
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            *lifetime = Lifetime::new("'static", lifetime.span());
        }
    }
    let mut ty = ty.clone();
    Own.visit_type_mut(&mut ty);
    ty
}

/// Where a type that must own what it holds stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Parameter,
    /// Behind the `&` of a parameter.
    Borrowed,
    Reply,
    Error,
}

/// Refuses what no message could carry, as far as tokens tell; the compiler sees the rest.
fn check_owned(ty: &Type, place: Place, callee: Callee<'_>, errors: &mut Errors) -> bool {
    let mut visitor = Owned { place, callee, whole: ty, errors, is_fine: true };
    visitor.visit_type(ty);
    visitor.is_fine
}

struct Owned<'a> {
    place: Place,
    callee: Callee<'a>,
    whole: &'a Type,
    errors: &'a mut Errors,
    is_fine: bool,
}

impl Owned<'_> {
    fn refuse(&mut self, tokens: impl ToTokens, message: String) {
        self.errors.at(tokens, message);
        self.is_fine = false;
    }

    fn holder(&self) -> String {
        let Words { owns, reply, callee, .. } = self.callee.words();
        match self.place {
            Place::Parameter | Place::Borrowed => (*owns).to_owned(),
            Place::Reply => format!("{reply} owns what it carries, for it leaves the {callee}"),
            Place::Error => format!("an error owns what it carries, for it leaves the {callee}"),
        }
    }

    fn fix(&self) -> String {
        let owned = spell(owned_form(self.whole));
        if self.place == Place::Borrowed { format!("&{owned}") } else { owned }
    }
}

impl<'ast> Visit<'ast> for Owned<'_> {
    fn visit_type(&mut self, ty: &'ast Type) {
        let Words { name_type, or_stream, never_ends, .. } = self.callee.words();
        match ty {
            Type::Reference(_) => self.refuse(ty, format!("{}: write `{}`", self.holder(), self.fix())),
            Type::TraitObject(_) if self.place == Place::Error => self.refuse(
                self.whole,
                "a trait object cannot travel: return `mobula::Result<T>`, whose `?` accepts any error and carries its text".to_owned(),
            ),
            Type::TraitObject(_) => self.refuse(
                self.whole,
                "a trait object cannot travel: write the type that it stands for, or an enum of those that it may be".to_owned(),
            ),
            Type::ImplTrait(_) if matches!(self.place, Place::Parameter | Place::Borrowed) => self.refuse(
                ty,
                (*name_type).to_owned(),
            ),
            Type::ImplTrait(_) => self.refuse(
                ty,
                format!("the caller must know this type: write it out{or_stream}"),
            ),
            Type::FnPtr(_) | Type::Ptr(_) => {
                self.refuse(ty, "a pointer means nothing in another process: send a value that says what is meant".to_owned());
            }
            Type::Never(_) => self.refuse(ty, (*never_ends).to_owned()),
            ty => visit::visit_type(self, ty),
        }
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident != "static" {
            let message =
                format!("{}, so it has no lifetime: write a type that owns (`'static` is fine)", self.holder());
            self.refuse(lifetime, message);
        }
    }

    fn visit_expr(&mut self, _: &'ast Expr) {}
}

/// What a function gives back, as its caller sees it.
pub(super) struct Returned {
    pub(super) reply: Reply,
    pub(super) error: Fault,
    /// As the signature spells it.
    pub(super) spelled: String,
}

/// Whether a type called `Result` is one.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Results {
    Flattened,
    Plain,
}

/// Understands a return type in which `Self` is resolved.
pub(super) fn returned(
    output: &ReturnType,
    results: Results,
    callee: Callee<'_>,
    errors: &mut Errors,
) -> Option<Returned> {
    let ReturnType::Type(_, ty) = output else {
        return Some(Returned {
            reply: Reply::Value(parse_quote!(()), Probe::None),
            error: Fault::Never,
            spelled: "()".to_owned(),
        });
    };
    let segment = last_segment(ty).filter(|segment| segment.ident == "Result" && results == Results::Flattened);
    let Some(segment) = segment else {
        let probe = if results == Results::Plain { Probe::None } else { Probe::NotResult };
        let (reply, spelled) = value(ty, probe, callee, errors)?;
        return Some(Returned { reply, error: Fault::Never, spelled });
    };
    let alias = peeled(ty);
    let (reply, error) = match type_arguments(segment).as_slice() {
        [] => (Some((Reply::OkOf(alias.clone()), spelled(alias, callee))), Some(Fault::ErrOf(alias.clone()))),
        [ok] => (value(ok, Probe::None, callee, errors), Some(error_of_alias(alias))),
        [ok, error, ..] => {
            let is_fine = check_owned(error, Place::Error, callee, errors);
            (value(ok, Probe::None, callee, errors), is_fine.then(|| Fault::Written((*error).clone())))
        }
    };
    let (reply, _) = reply?;
    Some(Returned { reply, error: error?, spelled: spelled(&streams::without_bounds(ty), callee) })
}

/// What a constructor makes, and may fail with.
pub(super) struct Made {
    pub(super) error: Fault,
    pub(super) spelled: String,
}

/// Understands a constructor's return type in which `Self` is resolved.
pub(super) fn made(output: &ReturnType, actor: &Type, function: &Ident, errors: &mut Errors) -> Option<Made> {
    const SHAPE: &str = "a constructor makes the actor: return `Self` or `Result<Self, E>`";
    let callee = Callee::Actor(actor);
    let ReturnType::Type(_, ty) = output else {
        errors.at(function, SHAPE);
        return None;
    };
    let is_actor = |ty: &Type| is_same_name(ty, actor);
    let error = match last_segment(ty) {
        _ if is_actor(ty) => Some(Fault::Never),
        Some(segment) if segment.ident == "Result" => match type_arguments(segment).as_slice() {
            [ok] if is_actor(ok) => Some(error_of_alias(peeled(ty))),
            [ok, error] if is_actor(ok) && !check_owned(error, Place::Error, callee, errors) => return None,
            [ok, error] if is_actor(ok) => Some(Fault::Written((*error).clone())),
            _ => None,
        },
        _ => None,
    };
    if error.is_none() {
        errors.at(ty, SHAPE);
    }
    Some(Made { error: error?, spelled: spelled(ty, callee) })
}

fn is_same_name(ty: &Type, other: &Type) -> bool {
    last_segment(ty).zip(last_segment(other)).is_some_and(|(one, other)| one.ident == other.ident)
}

pub(super) fn is_called_result(output: &ReturnType) -> bool {
    match output {
        ReturnType::Type(_, ty) => last_segment(ty).is_some_and(|segment| segment.ident == "Result"),
        ReturnType::Default => false,
    }
}

pub(super) fn is_self_type(ty: &Type) -> bool {
    matches!(peeled(ty), Type::Path(path) if path.path.is_ident("Self"))
}

fn value(ty: &Type, probe: Probe, callee: Callee<'_>, errors: &mut Errors) -> Option<(Reply, String)> {
    let peeled = peeled(ty);
    if let Type::ImplTrait(opaque) = peeled
        && let Some(item) = streams::item(opaque, errors)
    {
        return check_owned(item, Place::Reply, callee, errors)
            .then(|| (Reply::Stream(item.clone()), format!("impl Stream<Item = {}>", spelled(item, callee))));
    }
    check_owned(peeled, Place::Reply, callee, errors)
        .then(|| (Reply::Value(peeled.clone(), probe), spelled(peeled, callee)))
}

fn type_arguments(segment: &PathSegment) -> Vec<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return Vec::new() };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.collect()
}

/// The error of `io::Result<T>` and its like; of `mobula::Result<T>` it has a name of its own.
fn error_of_alias(alias: &Type) -> Fault {
    let Type::Path(path) = alias else { return Fault::ErrOf(alias.clone()) };
    let names: Vec<String> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    if names == ["mobula", "Result"] {
        return Fault::Text(alias.span());
    }
    let mut bare = alias.clone();
    OpaqueToUnit.visit_type_mut(&mut bare);
    Fault::ErrOf(bare)
}

/// An `impl Trait` cannot be named where an associated type is defined, and the error does not depend on it.
struct OpaqueToUnit;

impl VisitMut for OpaqueToUnit {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        match ty {
            Type::ImplTrait(_) => *ty = parse_quote!(()),
            ty => visit_mut::visit_type_mut(self, ty),
        }
    }
}
