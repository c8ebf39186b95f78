//! `impl Stream<Item = T>` as a return type.

use super::{Errors, types::peeled_mut};
use syn::{
    AssocType, GenericArgument, Lifetime, PathArguments, ReturnType, Token, Type, TypeImplTrait, TypeParamBound,
    parse_quote, parse_quote_spanned, visit_mut::VisitMut,
};

/// The item of an `impl Stream<Item = T>`.
pub(super) fn item<'a>(opaque: &'a TypeImplTrait, errors: &mut Errors) -> Option<&'a Type> {
    let stream = opaque.bounds.iter().find_map(|bound| match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last().filter(|segment| segment.ident == "Stream"),
        _ => None,
    })?;
    let PathArguments::AngleBracketed(arguments) = &stream.arguments else { return None };
    let item = arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(AssocType { ident, ty, .. }) if ident == "Item" => Some(ty),
        _ => None,
    });
    for bound in &opaque.bounds {
        if let TypeParamBound::Lifetime(lifetime) = bound
            && lifetime.ident != "static"
        {
            errors.at(
                lifetime,
                "the stream goes on after the call, so it cannot borrow: clone what it needs, and leave this away",
            );
        }
    }
    item
}

/// The type with its streams reduced to what they give, however else they are bounded.
pub(super) fn without_bounds(ty: &Type) -> Type {
    struct Reduce;
    impl VisitMut for Reduce {
        fn visit_type_impl_trait_mut(&mut self, opaque: &mut TypeImplTrait) {
            if let Some(item) = item(opaque, &mut Errors::default()).cloned() {
                opaque.bounds = parse_quote!(Stream<Item = #item>);
            }
        }
    }
    let mut ty = ty.clone();
    Reduce.visit_type_mut(&mut ty);
    ty
}

/// Adds to the streams that a function returns what makes them outlive the call.
pub(super) fn let_outlive(output: &mut ReturnType) {
    let ReturnType::Type(_, ty) = output else { return };
    let ty = peeled_mut(ty);
    if let Type::ImplTrait(opaque) = ty {
        outlive(opaque);
    } else if let Type::Path(path) = ty
        && let Some(segment) = path.path.segments.last_mut().filter(|segment| segment.ident == "Result")
        && let PathArguments::AngleBracketed(arguments) = &mut segment.arguments
        && let Some(GenericArgument::Type(ok)) = arguments.args.first_mut()
        && let Type::ImplTrait(opaque) = peeled_mut(ok)
    {
        outlive(opaque);
    }
}

fn outlive(opaque: &mut TypeImplTrait) {
    if item(opaque, &mut Errors::default()).is_none() {
        return;
    }
    let span = opaque.impl_token.span;
    let is_static = opaque.bounds.iter().any(|bound| matches!(bound, TypeParamBound::Lifetime(_)));
    let is_send = opaque.bounds.iter().any(|bound| match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last().is_some_and(|segment| segment.ident == "Send"),
        _ => false,
    });
    if !opaque.bounds.trailing_punct() {
        opaque.bounds.push_punct(Token![+](span));
    }
    if !is_send {
        opaque.bounds.push(parse_quote_spanned!(span=> ::core::marker::Send));
    }
    if !is_static {
        opaque.bounds.push(TypeParamBound::Lifetime(Lifetime::new("'static", span)));
    }
}
