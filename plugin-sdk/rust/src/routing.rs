//! Which handler answers which request.

use std::rc::Rc;

use crate::request::Params;
use crate::{Error, IntoResponse, Request, Response, percent};

type Handler<P> = Box<dyn Fn(&P, &Request) -> Response>;

/// The routes of a plugin.
///
/// A pattern is a path below `/api/<plugin id>`: `/targets/{name}/history`. `{name}` stands for one
/// segment, `{*rest}` at the end for all that follow. Of two patterns that fit, the one with the
/// earlier literal segment wins, whichever was added first. `HEAD` is answered by the `GET`
/// handler; a path that exists only for other methods answers 405 with `Allow`.
pub struct Router<P> {
    routes: Vec<Route<P>>,
    mistakes: Vec<String>,
}

struct Route<P> {
    method: &'static str,
    segments: Vec<Segment>,
    parameters: Rc<[String]>,
    handler: Handler<P>,
}

/// In the order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(String),
    Parameter,
    Rest,
}

impl<P> Default for Router<P> {
    fn default() -> Self {
        Self { routes: Vec::new(), mistakes: Vec::new() }
    }
}

impl<P> Router<P> {
    /// Without routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers `GET` and `HEAD`.
    #[must_use]
    pub fn get<R: IntoResponse>(self, pattern: &str, handler: impl Fn(&P, &Request) -> R + 'static) -> Self {
        self.route("GET", pattern, handler)
    }

    /// Answers `POST`.
    #[must_use]
    pub fn post<R: IntoResponse>(self, pattern: &str, handler: impl Fn(&P, &Request) -> R + 'static) -> Self {
        self.route("POST", pattern, handler)
    }

    /// Answers `PUT`.
    #[must_use]
    pub fn put<R: IntoResponse>(self, pattern: &str, handler: impl Fn(&P, &Request) -> R + 'static) -> Self {
        self.route("PUT", pattern, handler)
    }

    /// Answers `PATCH`.
    #[must_use]
    pub fn patch<R: IntoResponse>(self, pattern: &str, handler: impl Fn(&P, &Request) -> R + 'static) -> Self {
        self.route("PATCH", pattern, handler)
    }

    /// Answers `DELETE`.
    #[must_use]
    pub fn delete<R: IntoResponse>(self, pattern: &str, handler: impl Fn(&P, &Request) -> R + 'static) -> Self {
        self.route("DELETE", pattern, handler)
    }

    /// Answers any method, upper case. A pattern that is none, or that is there already, stops the
    /// plugin from starting, with the reason.
    #[must_use]
    pub fn route<R: IntoResponse>(mut self, method: &'static str, pattern: &str, handler: impl Fn(&P, &Request) -> R + 'static) -> Self {
        match parse(pattern) {
            Ok((segments, _)) if self.routes.iter().any(|route| route.method == method && route.segments == segments) => {
                self.mistakes.push(format!("{method} {pattern} is there already"));
            }
            Ok((segments, parameters)) => {
                let handler: Handler<P> = Box::new(move |plugin, request| handler(plugin, request).into_response());
                let position = self.routes.partition_point(|route| route.segments <= segments);
                self.routes.insert(position, Route { method, segments, parameters: parameters.into(), handler });
            }
            Err(mistake) => self.mistakes.push(format!("{method} {pattern}: {mistake}")),
        }
        self
    }

    /// What is wrong with the routes; none when all is well.
    pub fn mistake(&self) -> Option<&str> {
        self.mistakes.first().map(String::as_str)
    }

    /// Answers a request.
    pub fn answer(&self, plugin: &P, mut request: Request) -> Response {
        let path = std::mem::take(&mut request.path);
        let method = if request.method == "HEAD" { "GET" } else { request.method.as_str() };
        let mut allowed = Vec::new();
        let mut chosen = None;
        for route in &self.routes {
            let Some(values) = fit(&route.segments, &path) else { continue };
            if route.method == method {
                chosen = Some((route, values));
                break;
            }
            allowed.push(route.method);
        }
        request.path = path;
        match chosen {
            Some((route, values)) => {
                request.params = Params { names: Rc::clone(&route.parameters), values };
                (route.handler)(plugin, &request)
            }
            None if allowed.is_empty() => Error::not_found("there is nothing here").into_response(),
            None => {
                allowed.sort_unstable();
                allowed.dedup();
                let allowed = allowed.join(", ");
                Error::new(405, format!("this answers {allowed} only")).into_response().with_header("allow", allowed)
            }
        }
    }
}

impl<P> std::fmt::Debug for Router<P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.routes.iter().map(|route| (route.method, &route.segments))).finish()
    }
}

/// The segments of a pattern and the names of its parameters.
fn parse(pattern: &str) -> Result<(Vec<Segment>, Vec<String>), &'static str> {
    let path = pattern.strip_prefix('/').ok_or("a pattern begins with '/'")?;
    let mut segments = Vec::new();
    let mut parameters: Vec<String> = Vec::new();
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        let Some(inner) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
            if part.contains(['{', '}']) {
                return Err("a parameter is a whole segment: '{name}'");
            }
            segments.push(Segment::Literal(part.to_owned()));
            continue;
        };
        let (segment, name) = match inner.strip_prefix('*') {
            Some(name) => (Segment::Rest, name),
            None => (Segment::Parameter, inner),
        };
        if name.is_empty() || name.contains(['{', '}']) {
            return Err("a parameter needs a name");
        }
        if segment == Segment::Rest && parts.peek().is_some() {
            return Err("'{*name}' is the last segment");
        }
        if parameters.iter().any(|known| known == name) {
            return Err("two parameters have one name");
        }
        segments.push(segment);
        parameters.push(name.to_owned());
    }
    Ok((segments, parameters))
}

/// The values of the parameters, where the path fits the pattern.
fn fit(segments: &[Segment], path: &str) -> Option<Vec<String>> {
    let mut rest = Some(path.strip_prefix('/')?);
    let mut values = Vec::new();
    for segment in segments {
        let remaining = rest?;
        let (part, following) = match (segment, remaining.split_once('/')) {
            (Segment::Rest, _) | (_, None) => (remaining, None),
            (_, Some((part, following))) => (part, Some(following)),
        };
        match segment {
            Segment::Literal(literal) if literal == part => {}
            Segment::Literal(literal) if part.contains('%') && percent::decode_segment(part)? == *literal => {}
            Segment::Literal(_) => return None,
            Segment::Parameter if part.is_empty() => return None,
            Segment::Parameter | Segment::Rest => values.push(percent::decode_segment(part)?.into_owned()),
        }
        rest = following;
    }
    rest.is_none().then_some(values)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Shop;

    fn router() -> Router<Shop> {
        Router::new()
            .get("/", |_: &Shop, _: &Request| "root")
            .get("/items/{name}", |_: &Shop, request: &Request| format!("item {}", request.param("name")))
            .get("/items/new", |_: &Shop, _: &Request| "form")
            .post("/items", |_: &Shop, _: &Request| (201, "made"))
            .delete("/items/{name}", |_: &Shop, _: &Request| ())
            .get("/items/{name}/parts/{part}", |_: &Shop, request: &Request| {
                format!("{} of {}", request.param("part"), request.param("name"))
            })
            .get("/files/{*path}", |_: &Shop, request: &Request| format!("file {}", request.param("path")))
    }

    fn answer(method: &str, path: &str) -> (u16, String) {
        let response = router().answer(&Shop, Request::new(method, path));
        (response.status, String::from_utf8(response.body).unwrap())
    }

    #[test]
    fn a_request_reaches_its_handler_with_decoded_parameters() {
        assert_eq!(answer("GET", "/"), (200, "root".into()));
        assert_eq!(answer("GET", "/items/screw"), (200, "item screw".into()));
        assert_eq!(answer("GET", "/items/a%2Fb%20%C3%BC?x=1"), (200, "item a/b ü".into()));
        assert_eq!(answer("GET", "/items/saw/parts/blade"), (200, "blade of saw".into()));
        assert_eq!(answer("GET", "/files/a/b/c.txt"), (200, "file a/b/c.txt".into()));
        assert_eq!(answer("POST", "/items"), (201, "made".into()));
        assert_eq!(answer("DELETE", "/items/screw"), (204, String::new()));
    }

    #[test]
    fn a_literal_wins_over_a_parameter_whatever_the_order() {
        assert_eq!(answer("GET", "/items/new").1, "form");
        assert_eq!(answer("GET", "/items/%6Eew").1, "form");
        assert_eq!(answer("DELETE", "/items/new").0, 204);
    }

    #[test]
    fn head_is_answered_as_get() {
        assert_eq!(answer("HEAD", "/").0, 200);
    }

    #[test]
    fn what_is_not_there_answers_404() {
        for path in ["/other", "/items/", "/items/a/", "/items/a/parts", "//", "/items/%FF", ""] {
            assert_eq!(answer("GET", path).0, 404, "{path}");
        }
    }

    #[test]
    fn a_method_that_is_not_there_answers_405_with_the_others() {
        let response = router().answer(&Shop, Request::new("PATCH", "/items/saw"));
        assert_eq!((response.status, response.header("allow")), (405, Some("DELETE, GET")));
    }

    #[test]
    fn a_bad_or_repeated_pattern_is_a_mistake() {
        let mistake = |pattern: &str| router().get(pattern, |_: &Shop, _: &Request| ()).mistake().map(str::to_owned);
        assert_eq!(mistake("/fine/{a}/{b}"), None);
        assert_eq!(mistake("/items/{other}").unwrap(), "GET /items/{other} is there already");
        assert_eq!(mistake("items").unwrap(), "GET items: a pattern begins with '/'");
        assert_eq!(mistake("/a{b}").unwrap(), "GET /a{b}: a parameter is a whole segment: '{name}'");
        assert_eq!(mistake("/{}").unwrap(), "GET /{}: a parameter needs a name");
        assert_eq!(mistake("/{*a}/b").unwrap(), "GET /{*a}/b: '{*name}' is the last segment");
        assert_eq!(mistake("/{a}/{a}").unwrap(), "GET /{a}/{a}: two parameters have one name");
    }
}
