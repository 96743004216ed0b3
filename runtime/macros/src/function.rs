//! The function under an attribute: what it may look like.

use proc_macro2::{Delimiter, Group, TokenStream};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, Safety, Signature, Token, Visibility};

use crate::expand::Entry;

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
        let attribute = entry.attribute();
        let signature = &self.signature;
        let mut errors = Errors::default();
        if signature.asyncness.is_none() {
            let token = &signature.fn_token;
            errors.add(token, format!("`{attribute}` needs an `async fn`: write `async` before `fn`"));
        }
        if let Some(token) = &signature.constness {
            errors.add(token, format!("a function under `{attribute}` cannot be `const`"));
        }
        if let Safety::Unsafe(token) = &signature.safety {
            errors.add(token, format!("a function under `{attribute}` cannot be `unsafe`"));
        }
        if signature.abi.is_some() {
            errors.add(&signature.abi, format!("a function under `{attribute}` cannot have an ABI of its own"));
        }
        if !signature.inputs.is_empty() || signature.variadic.is_some() {
            let mut arguments = signature.inputs.to_token_stream();
            signature.variadic.to_tokens(&mut arguments);
            errors.add(arguments, format!("a function under `{attribute}` takes no arguments"));
        }
        if signature.generics.lt_token.is_some() {
            errors.add(&signature.generics, format!("a function under `{attribute}` cannot be generic"));
        }
        if let Some(clause) = &signature.generics.where_clause {
            errors.add(clause, format!("a function under `{attribute}` cannot have a `where` clause"));
        }
        if entry == Entry::Test {
            for attribute in self.attributes.iter().filter(|it| makes_a_test(it)) {
                errors.add(attribute, "`#[bourn::test]` makes this a test already: remove this attribute".to_owned());
            }
        }
        errors.into_result()
    }
}

/// Whether an attribute is `#[test]`, under any of its paths, or another crate's `test`.
fn makes_a_test(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|segment| segment.ident == "test")
}

/// Collects errors, so that one compilation shows all of them.
#[derive(Default)]
struct Errors(Option<Error>);

impl Errors {
    fn add(&mut self, tokens: impl ToTokens, message: String) {
        let tokens: TokenStream = tokens.into_token_stream();
        let error = Error::new_spanned(tokens, message);
        match &mut self.0 {
            Some(first) => first.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn into_result(self) -> syn::Result<()> {
        match self.0 {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
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
