// Package arch has no code. Its tests hold the project to its shape, which the
// tests of no single package can see:
//
//   - which package may import what, and that the cores that decide are pure
//     (arrows_test.go, purity_test.go);
//   - what the trusted binary is built from (deps_test.go) and how many lines
//     of it are ours (budget_test.go);
//   - that no line knows a chain outside the connectors (chain_test.go);
//   - that what is written down is there and true: doc comments, words, test
//     vectors, modules, licences, generated code (docs_test.go, words_test.go,
//     spec_test.go, modules_test.go).
//
// A rule is a function from the tree of files to findings, one sentence each.
// TestRules applies all of them to the repository. TestRulesSeeBreaches applies
// each to small trees that break it, testdata/breaches, so that a rule that has
// gone blind is known too.
package arch
