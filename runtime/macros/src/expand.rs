//! From the function as written to the function that the compiler sees.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::parse::{ParseStream, Parser};
use syn::{Error, Ident};

use crate::entry::Entry;
use crate::function::Function;
use crate::options::{DEFAULT_BUILDER, Options};

/// Expands one attribute. Errors become `compile_error!`, beside something that keeps them from causing further ones.
pub(crate) fn expand(entry: Entry, options: TokenStream, item: TokenStream) -> TokenStream {
    let function = match syn::parse2::<Function>(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            // Not a function: the item stays, so that its uses elsewhere still resolve.
            let error = error.into_compile_error();
            return quote! { #error #item };
        }
    };
    if let Err(error) = function.check(entry) {
        return refuse(&function, &error);
    }
    let parser = |input: ParseStream<'_>| Options::parse(entry, input);
    match parser.parse2(options) {
        Ok(options) => run(entry, &options, &function),
        Err(error) => {
            // The function is sound: expanded with the defaults, it is still checked and callable.
            let error = error.into_compile_error();
            let function = run(entry, &Options::default(), &function);
            quote! { #error #function }
        }
    }
}

/// The function that builds a runtime and blocks on the body.
fn run(entry: Entry, options: &Options, function: &Function) -> TokenStream {
    let Function { attributes, visibility, signature: inner, body } = function;
    let name = &inner.ident;
    let output = &inner.output;
    let krate = options.krate.as_ref().map_or_else(|| quote! { ::bourn }, ToTokens::to_token_stream);
    let test = (entry == Entry::Test).then(|| quote! { #[::core::prelude::v1::test] });
    let builder = options.builder.clone().unwrap_or_else(|| Ident::new(DEFAULT_BUILDER, Span::call_site()));
    let workers = options.worker_threads.as_ref().map(|number| quote! { .worker_threads(#number) });
    let backend = options.backend.as_ref().map(|variant| quote! { .backend(#krate::Backend::#variant) });
    let [prepare, result, watch, judge] = options.max_poll.as_ref().map(max_poll).unwrap_or_default();
    // The body keeps a function of its own, of the same name, rather than becoming an async block: an async block has no
    // place for the return type, and `?` and `return` inside it would be left to inference.
    quote! {
        #test
        #(#attributes)*
        #visibility fn #name() #output {
            // It is async because the attribute asks for it, whether or not it waits for anything.
            #[allow(clippy::unused_async)]
            #inner #body

            #prepare
            #result #krate::runtime::Builder::#builder()
                #workers
                #backend
                #watch
                .build()
                .expect("bourn: could not start the runtime")
                .block_on(#name())
            #judge
        }
    }
}

/// What has a test fail that has a poll longer than allowed: before the runtime is built, before its result, among the
/// builder's options, and after it is gone.
fn max_poll((limit, micros): &(String, u64)) -> [TokenStream; 4] {
    [
        quote! {
            let stalls = ::std::sync::Arc::new(::std::sync::Mutex::new(::std::vec::Vec::new()));
            let reports = ::std::sync::Arc::clone(&stalls);
        },
        quote! { let result = },
        quote! {
            .stall_threshold(::core::time::Duration::from_micros(#micros))
            .on_stall(move |stall| reports.lock().unwrap().push(::std::string::ToString::to_string(stall)))
        },
        quote! {
            ;
            if let Some(stall) = stalls.lock().unwrap().last() {
                panic!("a poll took longer than {}: {stall}", #limit);
            }
            result
        },
    ]
}

/// The error alone, and for `main` an empty function, without which the compiler would also say that there is no `main`.
fn refuse(function: &Function, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    let name = &function.signature.ident;
    if name != "main" {
        return error;
    }
    quote! {
        #error
        fn #name() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expansion of source text, as text with single spaces.
    fn expansion(entry: Entry, options: &str, item: &str) -> String {
        let options = options.parse().expect("options are tokens");
        let item = item.parse().expect("the item is tokens");
        expand(entry, options, item).to_string()
    }

    #[track_caller]
    fn same(left: &str, right: TokenStream) {
        assert_eq!(left, right.to_string());
    }

    #[test]
    fn main_becomes_a_function_that_blocks() {
        same(
            &expansion(Entry::Main, "", "/// Runs.\npub async fn main() -> Result<(), Error> { work().await }"),
            quote! {
                #[doc = " Runs."]
                pub fn main() -> Result<(), Error> {
                    #[allow(clippy::unused_async)]
                    async fn main() -> Result<(), Error> { work().await }
                    ::bourn::runtime::Builder::new_current_thread()
                        .build()
                        .expect("bourn: could not start the runtime")
                        .block_on(main())
                }
            },
        );
    }

    #[test]
    fn options_choose_the_backend_and_the_crate() {
        same(
            &expansion(Entry::Test, r#"backend = "mio", crate = "my::stream""#, "#[should_panic] async fn sinks() {}"),
            quote! {
                #[::core::prelude::v1::test]
                #[should_panic]
                fn sinks() {
                    #[allow(clippy::unused_async)]
                    async fn sinks() {}
                    my::stream::runtime::Builder::new_current_thread()
                        .backend(my::stream::Backend::Mio)
                        .build()
                        .expect("bourn: could not start the runtime")
                        .block_on(sinks())
                }
            },
        );
    }

    #[test]
    fn a_wrong_option_is_the_only_error() {
        let text = expansion(Entry::Main, r#"backend = "iocp""#, "async fn main() {}");
        assert_eq!(text.matches("compile_error").count(), 1, "{text}");
        assert!(text.contains("async fn main () { }"), "{text}");
    }

    #[test]
    fn a_refused_main_leaves_a_main_behind() {
        let text = expansion(Entry::Main, "", "fn main(argument: u8) -> u8 { argument }");
        assert_eq!(text.matches("compile_error").count(), 2, "{text}");
        assert!(text.ends_with("fn main () { }"), "{text}");
        let text = expansion(Entry::Test, "", "fn sinks() {}");
        assert!(!text.contains("fn sinks"), "{text}");
    }

    #[test]
    fn an_item_that_is_no_function_stays() {
        let text = expansion(Entry::Main, "", "struct Stream;");
        assert!(text.contains("compile_error"), "{text}");
        assert!(text.ends_with("struct Stream ;"), "{text}");
    }
}
