//! What may stand in the parentheses of the attributes.

use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Error, Ident, LitInt, LitStr, Path, Token};

use crate::entry::Entry;

/// The values of `flavor`, each with the function of `bourn::runtime::Builder` that it stands for.
const FLAVORS: [(&str, &str); 3] = [
    ("current_thread", DEFAULT_BUILDER),
    ("multi_thread", "new_multi_thread"),
    ("thread_per_core", "new_thread_per_core"),
];

pub(crate) const DEFAULT_BUILDER: &str = "new_current_thread";

/// The values of `backend`, each with the variant of `bourn::Backend` that it names.
const BACKENDS: [(&str, &str); 4] = [("epoll", "Epoll"), ("poll", "Poll"), ("select", "Select"), ("mio", "Mio")];

/// The units of `max_poll`, with their lengths in microseconds.
const UNITS: [(&str, u64); 3] = [("us", 1), ("ms", 1_000), ("s", 1_000_000)];

/// The options as given, checked.
#[derive(Default)]
pub(crate) struct Options {
    /// A function of `bourn::runtime::Builder`; `None` means [`DEFAULT_BUILDER`].
    pub(crate) builder: Option<Ident>,
    /// The number of workers; `None` leaves the choice to the builder.
    pub(crate) worker_threads: Option<LitInt>,
    /// A variant of `bourn::Backend`; `None` leaves the choice to the builder.
    pub(crate) backend: Option<Ident>,
    /// Where `bourn` is reachable; `None` means `::bourn`.
    pub(crate) krate: Option<Path>,
    /// How long a poll may take, as written and in microseconds.
    pub(crate) max_poll: Option<(String, u64)>,
}

impl Options {
    pub(crate) fn parse(entry: Entry, input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Options::default();
        let mut seen: Vec<Ident> = Vec::new();
        while !input.is_empty() {
            // `crate` is a keyword, and an identifier only in the eyes of `parse_any`.
            let name = input.call(Ident::parse_any)?;
            let error = |message: String| Err(Error::new(name.span(), message));
            if seen.contains(&name) {
                return error(format!("`{name}` is given twice; keep one of the two"));
            }
            match name.to_string().as_str() {
                "flavor" => options.builder = Some(choose(&name, &text(&name, input)?, &FLAVORS)?),
                "worker_threads" => options.worker_threads = Some(worker_threads(&name, input)?),
                "backend" => options.backend = Some(choose(&name, &text(&name, input)?, &BACKENDS)?),
                "crate" => options.krate = Some(krate(&text(&name, input)?)?),
                "max_poll" if entry == Entry::Test => options.max_poll = Some(max_poll(&text(&name, input)?)?),
                "max_poll" => return error("`max_poll` makes a test fail; `Builder::on_stall` is for programs".into()),
                _ => {
                    let all = "`flavor`, `worker_threads`, `backend`, `crate` and, in tests, `max_poll`";
                    return error(format!("unknown option `{name}`; there are {all}"));
                }
            }
            seen.push(name);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        if let Some(workers) = &options.worker_threads
            && options.builder.as_ref().is_none_or(|builder| builder == DEFAULT_BUILDER)
        {
            let message = "the default flavor has no workers: add `flavor = \"multi_thread\"` or `\"thread_per_core\"`";
            return Err(Error::new(workers.span(), message));
        }
        Ok(options)
    }
}

/// Reads `= value`, which is `what` if it `fits`; an error shows how the option is written.
fn value<T: Parse + Spanned>(
    name: &Ident,
    input: ParseStream<'_>,
    what: &str,
    fits: impl FnOnce(&T) -> bool,
) -> syn::Result<T> {
    let error = |span| Error::new(span, format!("the value of `{name}` is {what}"));
    input.parse::<Token![=]>().map_err(|_| error(name.span()))?;
    let value: T = input.parse().map_err(|cause| error(cause.span()))?;
    if fits(&value) { Ok(value) } else { Err(error(value.span())) }
}

fn worker_threads(name: &Ident, input: ParseStream<'_>) -> syn::Result<LitInt> {
    let what = format!("a number of at least 1: `{name} = 4`");
    value(name, input, &what, |number: &LitInt| number.base10_parse::<usize>().is_ok_and(|number| number > 0))
}

fn text(name: &Ident, input: ParseStream<'_>) -> syn::Result<LitStr> {
    value(name, input, &format!("a string literal: `{name} = \"...\"`"), |_| true)
}

/// Finds the identifier that the value of `option` stands for.
fn choose(option: &Ident, value: &LitStr, choices: &[(&str, &str)]) -> syn::Result<Ident> {
    let given = value.value();
    if let Some((_, chosen)) = choices.iter().find(|(name, _)| *name == given) {
        // The span of the value, so that a crate without this identifier is reported there.
        return Ok(Ident::new(chosen, value.span()));
    }
    let choices: Vec<String> = choices.iter().map(|(choice, _)| format!("\"{choice}\"")).collect();
    Err(Error::new(value.span(), format!("unknown {option} \"{given}\"; there is {}", choices.join(", "))))
}

fn krate(value: &LitStr) -> syn::Result<Path> {
    value
        .parse_with(Path::parse_mod_style)
        .map_err(|_| Error::new(value.span(), "the value of `crate` is a path to bourn: `crate = \"my::reexport\"`"))
}

/// Reads a number with a unit.
fn max_poll(value: &LitStr) -> syn::Result<(String, u64)> {
    let given = value.value();
    let digits = given.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = UNITS.iter().find(|(unit, _)| *unit == &given[digits.len()..]);
    match digits.trim_end().parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit.1)) {
        Some(micros @ 1..) => Ok((given, micros)),
        _ => Err(Error::new(
            value.span(),
            "the value of `max_poll` is a number with a unit, us, ms or s: `max_poll = \"5ms\"`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use syn::parse::Parser;

    use super::*;

    fn parse(options: &str) -> syn::Result<Options> {
        (|input: ParseStream<'_>| Options::parse(Entry::Test, input)).parse_str(options)
    }

    fn message(options: &str) -> String {
        match parse(options) {
            Ok(_) => panic!("`{options}` was accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_option_may_be_given_at_once_with_a_trailing_comma() {
        let options =
            parse(r#"flavor = "current_thread", backend = "select", crate = "a::b","#).expect("all three options");
        assert_eq!(options.backend.expect("a backend"), "Select");
        assert_eq!(options.krate.expect("a path").segments.len(), 2);
    }

    #[test]
    fn workers_are_counted_in_the_flavor_that_has_some() {
        let options = parse(r#"worker_threads = 4, flavor = "multi_thread""#).expect("both");
        assert_eq!(options.builder.expect("a flavor"), "new_multi_thread");
        let workers = options.worker_threads.expect("a number");
        assert_eq!(workers.base10_digits(), "4");
    }

    #[test]
    fn nothing_is_chosen_by_default() {
        let options = parse("").expect("no options");
        assert!(options.backend.is_none());
        assert!(options.krate.is_none());
    }

    #[test]
    fn each_backend_names_its_variant() {
        for (name, variant) in BACKENDS {
            let options = parse(&format!("backend = \"{name}\"")).expect("a backend");
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
            message(r#"flavor = "threads""#),
            r#"unknown flavor "threads"; there is "current_thread", "multi_thread", "thread_per_core""#
        );
    }

    #[test]
    fn malformed_options_say_how_to_write_them() {
        assert!(message("threads = 4").starts_with("unknown option `threads`"));
        assert!(message("worker_threads = 4").contains("add `flavor = "));
        for wrong in ["worker_threads", "worker_threads = 0", "worker_threads = \"4\""] {
            assert!(message(wrong).contains("a number of at least 1"), "{wrong}");
        }
        assert!(message("backend").contains("is a string literal"));
        assert!(message("backend = Poll").contains("is a string literal"));
        assert!(message("backend = 3").contains("is a string literal"));
        assert!(message(r#"backend = "poll", backend = "poll""#).contains("given twice"));
        assert!(message(r#"crate = "a b""#).contains("is a path to bourn"));
    }

    #[test]
    fn the_longest_poll_has_a_unit() {
        for (given, micros) in [("250us", 250), ("5ms", 5_000), ("5 ms", 5_000), ("1s", 1_000_000)] {
            let options = parse(&format!("max_poll = \"{given}\"")).expect("a length");
            assert_eq!(options.max_poll, Some((given.to_owned(), micros)));
        }
        for wrong in ["5", "ms", "", "5min", "-5ms", "0ms", "5.5ms", "99999999999999999999s", "18446744073709551615s"] {
            assert!(message(&format!("max_poll = \"{wrong}\"")).contains("a number with a unit"), "{wrong}");
        }
    }
}
