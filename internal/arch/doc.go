// Package arch holds the tests of the program's structure: who may import whom, and what code that every node must execute alike may not do.
// Each rule stands with its reason. It has no code of its own.
//
// A rule that bites says what to do: move the code, or, if the rule is wrong, change it here with a reason that convinces a reviewer.
package arch
