// Package attest proves which machine asks for an identity, by what its provider has signed about
// it: EC2's instance identity document. docs/attestation.md has the terms, what is checked and what
// is refused.
package attest
