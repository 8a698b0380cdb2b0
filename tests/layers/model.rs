//! The source as seen by the rules: files as modules, without their tests, and the paths that each of them
//! names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use syn::visit::{self, Visit};

/// A path, outermost name first: `["gateway", "legs", "Leg"]`.
pub type Names = Vec<String>;

/// A file.
pub struct File {
    /// `src/gateway/leg.rs`.
    pub path: String,
    /// `["gateway", "leg"]`; of a `mod.rs` that of its folder.
    pub module: Names,
    pub ast: syn::File,
    /// It is a `mod.rs` that only declares and re-exports.
    pub only_declares: bool,
    /// Re-exported public names, and their origin.
    reexports: BTreeMap<String, Names>,
    /// Modules re-exported by a glob.
    globs: Vec<Names>,
    /// Imported names, and their paths.
    aliases: BTreeMap<String, Names>,
    /// All absolute paths used outside its tests.
    pub named: Vec<Names>,
    /// The same, including its tests.
    pub named_with_tests: Vec<Names>,
}

/// All files.
pub struct Source {
    pub files: Vec<File>,
    by_module: BTreeMap<Names, usize>,
}

fn is_test(attrs: &[syn::Attribute]) -> bool {
    attrs
        .iter()
        .any(|a| a.path().is_ident("cfg") && a.parse_args::<syn::Path>().is_ok_and(|p| p.is_ident("test")))
}

fn is_public(vis: &syn::Visibility) -> bool {
    !matches!(vis, syn::Visibility::Inherited)
}

/// Collects the paths of a file.
struct Paths<'a> {
    module: &'a Names,
    /// Includes tests.
    with_tests: bool,
    /// Inline modules, outermost first.
    inside: usize,
    children: Vec<String>,
    uses: Vec<(Names, Option<String>, bool, usize)>,
    globs: Vec<(Names, bool, usize)>,
    paths: Vec<(Names, usize)>,
}

impl Paths<'_> {
    /// Resolves a path that begins with `crate`, `self`, `super` or a child of this module.
    fn absolute(&self, names: &[String], inside: usize) -> Option<Names> {
        let here = self.module.len();
        let (base, rest) = match names.first()?.as_str() {
            "crate" | "branchline" => (0, 1),
            "self" => (here, 1),
            "super" => {
                let ups = names.iter().take_while(|n| *n == "super").count();
                (here.checked_sub(ups.saturating_sub(inside))?, ups)
            }
            child if self.children.iter().any(|c| c == child) => (here, 0),
            _ => return None,
        };
        let mut out = self.module[..base].to_vec();
        out.extend_from_slice(&names[rest..]);
        Some(out)
    }

    fn tree(&mut self, tree: &syn::UseTree, before: &[String], public: bool) {
        let with = |name: &syn::Ident| {
            let mut all = before.to_vec();
            if name != "self" || before.is_empty() {
                all.push(name.to_string());
            }
            all
        };
        match tree {
            syn::UseTree::Path(p) => self.tree(&p.tree, &with(&p.ident), public),
            syn::UseTree::Name(n) => {
                let all = with(&n.ident);
                let alias = all.last().cloned();
                self.uses.push((all, alias, public, self.inside));
            }
            syn::UseTree::Rename(r) => {
                self.uses.push((with(&r.ident), Some(r.rename.to_string()), public, self.inside))
            }
            syn::UseTree::Glob(_) => self.globs.push((before.to_vec(), public, self.inside)),
            syn::UseTree::Group(g) => g.items.iter().for_each(|t| self.tree(t, before, public)),
        }
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if is_test(&item.attrs) && !self.with_tests {
            return;
        }
        if item.content.is_none() {
            self.children.push(item.ident.to_string());
            return;
        }
        self.inside += 1;
        visit::visit_item_mod(self, item);
        self.inside -= 1;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if self.with_tests || !is_test(&item.attrs) {
            self.tree(&item.tree, &[], is_public(&item.vis));
        }
    }

    /// Visibility is not an import.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.push((path.segments.iter().map(|s| s.ident.to_string()).collect(), self.inside));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        // Macro arguments are not parsed: paths are names with `::` between them.
        let text = item.tokens.to_string();
        let words: Vec<&str> = text.split_whitespace().collect();
        let is_name = |w: &str| w.chars().all(|c| c.is_alphanumeric() || c == '_');
        let mut i = 0;
        while i < words.len() {
            let mut path = Vec::new();
            if is_name(words[i]) {
                path.push(words[i].to_owned());
                while i + 2 < words.len() && words[i + 1] == "::" && is_name(words[i + 2]) {
                    path.push(words[i + 2].to_owned());
                    i += 2;
                }
            }
            if !path.is_empty() {
                self.paths.push((path, self.inside));
            }
            i += 1;
        }
        visit::visit_macro(self, item);
    }
}

/// What the paths of a file lead to.
struct Collected {
    aliases: BTreeMap<String, Names>,
    reexports: BTreeMap<String, Names>,
    globs: Vec<Names>,
    named: Vec<Names>,
}

impl Collected {
    fn of(ast: &syn::File, module: &Names, with_tests: bool) -> Self {
        let children = ast.items.iter().filter_map(|i| match i {
            syn::Item::Mod(m) if m.content.is_none() && !is_test(&m.attrs) => Some(m.ident.to_string()),
            _ => None,
        });
        let mut paths = Paths {
            module,
            with_tests,
            inside: 0,
            children: children.collect(),
            uses: Vec::new(),
            globs: Vec::new(),
            paths: Vec::new(),
        };
        paths.visit_file(ast);
        let (mut aliases, mut reexports, mut named) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (names, alias, public, inside) in &paths.uses {
            let Some(absolute) = paths.absolute(names, *inside) else { continue };
            if let Some(alias) = alias {
                aliases.insert(alias.clone(), absolute.clone());
                if *public {
                    reexports.insert(alias.clone(), absolute.clone());
                }
            }
            named.push(absolute);
        }
        let mut globs = Vec::new();
        for (names, public, inside) in &paths.globs {
            let Some(absolute) = paths.absolute(names, *inside) else { continue };
            if *public {
                globs.push(absolute.clone());
            }
            named.push(absolute);
        }
        for (names, inside) in &paths.paths {
            if let Some(absolute) = paths.absolute(names, *inside) {
                named.push(absolute);
            } else if let Some(base) = aliases.get(&names[0]) {
                let mut all = base.clone();
                all.extend_from_slice(&names[1..]);
                named.push(all);
            }
        }
        Self { aliases, reexports, globs, named }
    }
}

impl File {
    /// Parses a file; `path` is relative to the package, `src/…`.
    pub fn parse(path: &str, text: &str) -> Self {
        let ast = syn::parse_file(text).unwrap_or_else(|e| panic!("{path}: {e}"));
        let mut module: Names =
            path.trim_start_matches("src/").trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        let Collected { aliases, reexports, globs, named } = Collected::of(&ast, &module, false);
        let named_with_tests = Collected::of(&ast, &module, true).named;
        let only_declares = path.ends_with("/mod.rs")
            && ast.items.iter().all(|i| match i {
                syn::Item::Use(_) => true,
                syn::Item::Mod(m) => m.content.is_none() || is_test(&m.attrs),
                _ => false,
            });
        Self {
            path: path.to_owned(),
            ast,
            only_declares,
            reexports,
            globs,
            aliases,
            named,
            named_with_tests,
            module,
        }
    }

    /// Items other than tests, including inline modules.
    pub fn items(&self) -> Vec<&syn::Item> {
        fn add<'a>(items: &'a [syn::Item], out: &mut Vec<&'a syn::Item>) {
            for item in items {
                match item {
                    syn::Item::Mod(m) if !is_test(&m.attrs) => {
                        if let Some((_, inner)) = &m.content {
                            add(inner, out);
                        }
                    }
                    syn::Item::Mod(_) => {}
                    other => out.push(other),
                }
            }
        }
        let mut out = Vec::new();
        add(&self.ast.items, &mut out);
        out
    }

    /// The folder it is in, as a module.
    pub fn folder(&self) -> &[String] {
        if self.path.ends_with("/mod.rs") || self.module.is_empty() {
            &self.module
        } else {
            &self.module[..self.module.len() - 1]
        }
    }
}

impl Source {
    /// Reads this package.
    pub fn read() -> Self {
        fn walk(root: &Path, dir: &Path, out: &mut Vec<File>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(root, &path, out);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    let text = fs::read_to_string(&path).unwrap();
                    out.push(File::parse(path.strip_prefix(root).unwrap().to_str().unwrap(), &text));
                }
            }
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        walk(root, &root.join("src"), &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self::of(files)
    }

    /// Creates it from texts instead of files.
    pub fn planted(files: &[(&str, &str)]) -> Self {
        Self::of(files.iter().map(|(path, text)| File::parse(path, text)).collect())
    }

    fn of(files: Vec<File>) -> Self {
        let named = |(at, file): (usize, &File)| (file.module.clone(), at);
        let by_module = files.iter().enumerate().filter(|(_, f)| !f.module.is_empty()).map(named).collect();
        Self { files, by_module }
    }

    /// Index of the file that defines this path, through re-exports, and the path there.
    pub fn resolve(&self, names: &[String]) -> Option<(usize, Names)> {
        let mut names = names.to_vec();
        for _ in 0..8 {
            let at = (1..=names.len()).rev().find_map(|n| self.by_module.get(&names[..n]).copied())?;
            let file = &self.files[at];
            let rest = &names[file.module.len()..];
            let Some(first) = rest.first() else { return Some((at, names)) };
            let from = file.reexports.get(first).cloned().or_else(|| {
                file.globs.iter().find_map(|glob| {
                    let of = &self.files[*self.by_module.get(glob)?];
                    let mut path = glob.clone();
                    path.push(first.clone());
                    of.defines(first).then_some(path)
                })
            });
            let Some(mut from) = from else { return Some((at, names)) };
            from.extend_from_slice(&rest[1..]);
            if from == names {
                return Some((at, names));
            }
            names = from;
        }
        None
    }

    /// Full path of a type that a file refers to by this name, e.g. `gateway::legs::Leg`.
    pub fn type_named(&self, file: &File, names: &[String]) -> String {
        let absolute = match file.aliases.get(&names[0]) {
            Some(base) => [base.as_slice(), &names[1..]].concat(),
            None => [file.module.as_slice(), names].concat(),
        };
        self.resolve(&absolute).map_or(absolute.clone(), |(_, path)| path).join("::")
    }
}

impl File {
    fn defines(&self, name: &str) -> bool {
        self.items().iter().any(|i| match i {
            syn::Item::Struct(s) => s.ident == name,
            syn::Item::Enum(e) => e.ident == name,
            syn::Item::Fn(f) => f.sig.ident == name,
            syn::Item::Trait(t) => t.ident == name,
            syn::Item::Const(c) => c.ident == name,
            syn::Item::Type(t) => t.ident == name,
            _ => false,
        })
    }
}
