// Package attacks is what somebody does who means harm, against the real programs: a file for each
// thing that the attacker holds. docs/threat-model.md says what each of them can do and cannot.
package attacks
