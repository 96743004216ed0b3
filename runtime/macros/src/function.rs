//! The function under an attribute: what it may look like.

use proc_macro2::{Delimiter, Group};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, Safety, Signature, Token, Visibility};

use crate::entry::Entry;

/// A function item whose body is left as tokens, so that whatever is wrong in there is reported by the compiler.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: Group,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        if !starts_a_signature(input) {
            return Err(input.error("expected an `async fn`"));
        }
        let signature = input.parse()?;
        let body = input
            .parse::<Group>()
            .ok()
            .filter(|group| group.delimiter() == Delimiter::Brace)
            .ok_or_else(|| Error::new_spanned(&signature, "this function needs a body"))?;
        Ok(Function { attributes, visibility, signature, body })
    }
}

fn starts_a_signature(input: ParseStream<'_>) -> bool {
    input.peek(Token![fn])
        || input.peek(Token![async])
        || input.peek(Token![const])
        || input.peek(Token![unsafe])
        || input.peek(Token![extern])
}

impl Function {
    /// Checks that nothing but a call without arguments is needed to run the function.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each part at its own tokens.
    pub(crate) fn check(&self, entry: Entry) -> syn::Result<()> {
        let signature = &self.signature;
        let missing_async = signature.asyncness.is_none().then(|| signature.fn_token.to_token_stream());
        let unsafety = if let Safety::Unsafe(token) = &signature.safety { Some(token.to_token_stream()) } else { None };
        let mut arguments = signature.inputs.to_token_stream();
        signature.variadic.to_tokens(&mut arguments);
        let wrong = [
            (missing_async.unwrap_or_default(), "`{}` needs an `async fn`: write `async` before `fn`"),
            (signature.constness.to_token_stream(), "a function under `{}` cannot be `const`"),
            (unsafety.unwrap_or_default(), "a function under `{}` cannot be `unsafe`"),
            (signature.abi.to_token_stream(), "a function under `{}` cannot have an ABI of its own"),
            (arguments, "a function under `{}` takes no arguments"),
            (signature.generics.to_token_stream(), "a function under `{}` cannot be generic"),
            (signature.generics.where_clause.to_token_stream(), "a function under `{}` cannot have a `where` clause"),
        ];
        let tests = self.attributes.iter().filter(|it| entry == Entry::Test && makes_a_test(it));
        let twice = "`{}` makes this a test already: remove this attribute";
        wrong
            .into_iter()
            .chain(tests.map(|attribute| (attribute.to_token_stream(), twice)))
            .filter(|(tokens, _)| !tokens.is_empty())
            .map(|(tokens, message)| Error::new_spanned(tokens, message.replace("{}", entry.attribute())))
            .reduce(|mut all, next| {
                all.combine(next);
                all
            })
            .map_or(Ok(()), Err)
    }
}

/// Whether an attribute is `#[test]`, under any of its paths, or another crate's `test`.
fn makes_a_test(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|segment| segment.ident == "test")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every error of `item`: what it says, and the source text that it points at.
    fn errors(entry: Entry, item: &str) -> Vec<(String, String)> {
        let result = syn::parse_str::<Function>(item).and_then(|function| function.check(entry));
        match result {
            Ok(()) => Vec::new(),
            Err(errors) => errors
                .into_iter()
                .map(|error| {
                    let source = error.span().source_text();
                    (error.to_string(), source.unwrap_or_default())
                })
                .collect(),
        }
    }

    #[track_caller]
    fn refused(entry: Entry, item: &str, says: &str, points_at: &str) {
        let errors = errors(entry, item);
        assert_eq!(errors.len(), 1, "{errors:?}");
        let (message, source) = &errors[0];
        assert!(message.contains(says), "{message}");
        assert_eq!(source, points_at);
    }

    #[test]
    fn a_plain_async_function_is_accepted() {
        for item in [
            "async fn main() {}",
            "pub(crate) async fn serve() -> Result<(), Error> { not even rust }",
            "#[allow(dead_code)] /// Runs.\n async fn main() -> ! { loop {} }",
        ] {
            assert_eq!(errors(Entry::Main, item), []);
            assert_eq!(errors(Entry::Test, item), []);
        }
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        for entry in [Entry::Main, Entry::Test] {
            refused(entry, "pub fn main() {}", "write `async` before", "fn");
            refused(entry, "async unsafe fn f() {}", "cannot be `unsafe`", "unsafe");
            refused(entry, "const async fn f() {}", "cannot be `const`", "const");
            refused(entry, "async extern \"C\" fn f() {}", "an ABI of its own", "extern \"C\"");
            refused(entry, "async fn f(count: usize, name: &str) {}", "takes no arguments", "count: usize, name: &str");
            refused(entry, "async fn f(&self) {}", "takes no arguments", "&self");
            refused(entry, "async fn f<'a, T>() {}", "cannot be generic", "<'a, T>");
            refused(entry, "async fn f() where String: Clone {}", "`where` clause", "where String: Clone");
            refused(entry, "async fn f();", "needs a body", "async fn f()");
            refused(entry, "pub struct S;", "expected an `async fn`", "struct");
        }
    }

    #[test]
    fn every_error_is_reported_at_once() {
        let errors = errors(Entry::Main, "fn main<T>(value: T) where T: Clone {}");
        let sources: Vec<&str> = errors.iter().map(|(_, source)| source.as_str()).collect();
        assert_eq!(sources, ["fn", "value: T", "<T>", "where T: Clone"]);
    }

    #[test]
    fn a_second_test_attribute_is_refused_under_test_alone() {
        for attribute in ["#[test]", "#[core::prelude::v1::test]", "#[bourn::test]"] {
            let item = format!("#[ignore] {attribute} async fn f() {{}}");
            refused(Entry::Test, &item, "remove this attribute", attribute);
            assert_eq!(errors(Entry::Main, &item), []);
        }
        assert_eq!(errors(Entry::Test, "#[cfg(test)] async fn f() {}"), []);
    }
}
