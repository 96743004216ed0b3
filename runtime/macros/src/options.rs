//! What may stand in the parentheses of the attributes.

use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, ExprLit, Ident, Lit, LitStr, Path, Token};

/// The values of `flavor`. More will join; a single flavour needs no state in [`Options`].
const FLAVORS: [&str; 1] = ["current_thread"];

/// The values of `backend`, each with the variant of `bourn::Backend` that it names.
const BACKENDS: [(&str, &str); 4] = [("epoll", "Epoll"), ("poll", "Poll"), ("select", "Select"), ("mio", "Mio")];

/// The options as given, checked.
#[derive(Default)]
pub(crate) struct Options {
    /// A variant of `bourn::Backend`; `None` leaves the choice to the builder.
    pub(crate) backend: Option<Ident>,
    /// Where `bourn` is reachable; `None` means `::bourn`.
    pub(crate) krate: Option<Path>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Options::default();
        let mut seen: Vec<Ident> = Vec::new();
        while !input.is_empty() {
            // `crate` is a keyword, and an identifier only in the eyes of `parse_any`.
            let name = input.call(Ident::parse_any)?;
            if seen.contains(&name) {
                return Err(Error::new(name.span(), format!("`{name}` is given twice; keep one of the two")));
            }
            if name == "flavor" {
                check_flavor(&value(&name, input)?)?;
            } else if name == "backend" {
                options.backend = Some(backend(&value(&name, input)?)?);
            } else if name == "crate" {
                options.krate = Some(krate(&value(&name, input)?)?);
            } else {
                return Err(Error::new(
                    name.span(),
                    format!("unknown option `{name}`; there are `flavor`, `backend` and `crate`"),
                ));
            }
            seen.push(name);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

/// Reads `= "value"`, with an error that shows how the option is written.
fn value(name: &Ident, input: ParseStream<'_>) -> syn::Result<LitStr> {
    if !input.peek(Token![=]) {
        return Err(Error::new(name.span(), format!("`{name}` needs a value: `{name} = \"...\"`")));
    }
    input.parse::<Token![=]>()?;
    match input.parse::<Expr>()? {
        Expr::Lit(ExprLit { lit: Lit::Str(value), .. }) => Ok(value),
        other => {
            Err(Error::new_spanned(other, format!("the value of `{name}` is a string literal: `{name} = \"...\"`")))
        }
    }
}

fn check_flavor(value: &LitStr) -> syn::Result<()> {
    let given = value.value();
    if FLAVORS.contains(&given.as_str()) {
        return Ok(());
    }
    Err(unknown("flavor", value, &FLAVORS))
}

fn backend(value: &LitStr) -> syn::Result<Ident> {
    let given = value.value();
    match BACKENDS.iter().find(|(name, _)| *name == given) {
        // The span of the value, so that a `bourn::Backend` without this variant is reported there.
        Some((_, variant)) => Ok(Ident::new(variant, value.span())),
        None => Err(unknown("backend", value, &BACKENDS.map(|(name, _)| name))),
    }
}

fn krate(value: &LitStr) -> syn::Result<Path> {
    value
        .parse_with(Path::parse_mod_style)
        .map_err(|_| Error::new(value.span(), "the value of `crate` is a path to bourn: `crate = \"my::reexport\"`"))
}

fn unknown(option: &str, value: &LitStr, choices: &[&str]) -> Error {
    let choices: Vec<String> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
    Error::new(value.span(), format!("unknown {option} \"{}\"; there is {}", value.value(), choices.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(options: &str) -> String {
        match syn::parse_str::<Options>(options) {
            Ok(_) => panic!("`{options}` was accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_option_may_be_given_at_once_with_a_trailing_comma() {
        let options: Options = syn::parse_str(r#"flavor = "current_thread", backend = "select", crate = "a::b","#)
            .expect("all three options");
        assert_eq!(options.backend.expect("a backend"), "Select");
        assert_eq!(options.krate.expect("a path").segments.len(), 2);
    }

    #[test]
    fn nothing_is_chosen_by_default() {
        let options: Options = syn::parse_str("").expect("no options");
        assert!(options.backend.is_none());
        assert!(options.krate.is_none());
    }

    #[test]
    fn each_backend_names_its_variant() {
        for (name, variant) in BACKENDS {
            let options: Options = syn::parse_str(&format!("backend = \"{name}\"")).expect("a backend");
            assert_eq!(options.backend.expect("a backend"), variant);
        }
    }

    #[test]
    fn an_unknown_value_lists_what_exists() {
        assert_eq!(
            message(r#"backend = "kqueue""#),
            r#"unknown backend "kqueue"; there is "epoll", "poll", "select", "mio""#
        );
        assert_eq!(
            message(r#"flavor = "multi_thread""#),
            r#"unknown flavor "multi_thread"; there is "current_thread""#
        );
    }

    #[test]
    fn malformed_options_say_how_to_write_them() {
        assert!(message("worker_threads = 4").starts_with("unknown option `worker_threads`"));
        assert!(message("backend").starts_with("`backend` needs a value"));
        assert!(message("backend = Poll").contains("is a string literal"));
        assert!(message("backend = 3").contains("is a string literal"));
        assert!(message(r#"backend = "poll", backend = "poll""#).contains("given twice"));
        assert!(message(r#"crate = "a b""#).contains("is a path to bourn"));
    }
}
