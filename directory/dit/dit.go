// Package dit is the embedded directory (X.500's directory information tree): entries, indexes, schema check, access
// rules, password hashing and password policy on one bbolt file. It speaks no protocol; package protocols/ldapd puts LDAP
// before it, and dirpost itself reaches it through that door only.
//
// Every operation takes the [Subject] who asks and tests access first, then schema, then uniqueness, so that nobody
// learns from an error what he may not read. Changes are atomic and durable when a method returns.
//
// Start reading at [Tree].
package dit

import (
	"fmt"
	"time"
)

// An Attribute is a description, with options such as ";binary", and its values in stored order.
type Attribute struct {
	Name   string
	Values [][]byte
}

// An Entry is what a search returns: the name as it was written, and attributes in stored order.
type Entry struct {
	DN         string
	Attributes []Attribute
}

// A Subject is who asks. The zero Subject is anonymous.
type Subject struct {
	DN    string // as the entry, or the socket, has it; empty = anonymous
	Admin bool   // the local administrator, whom no access rule binds; members of administrators' groups are judged by the rules at each operation

	MustChange bool // has a password that somebody else gave him, and may do nothing but change it
}

// A Scope is how deep a search looks (RFC 4511 section 4.5.1.2).
type Scope int

// The scopes, with their numbers on the wire.
const (
	BaseObject Scope = iota
	SingleLevel
	WholeSubtree
)

// A FilterKind is one of the ten kinds of RFC 4511 section 4.5.1.7, with its tag on the wire.
type FilterKind int

// The kinds.
const (
	And FilterKind = iota
	Or
	Not
	EqualityMatch
	Substrings
	GreaterOrEqual
	LessOrEqual
	Present
	ApproxMatch
	ExtensibleMatch
)

// A Filter is one node. Which fields count depends on Kind.
type Filter struct {
	Kind    FilterKind
	Subs    []*Filter // And, Or; Not has one
	Attr    string    // all leaves; may be empty for ExtensibleMatch
	Value   []byte    // EqualityMatch, GreaterOrEqual, LessOrEqual, ApproxMatch, ExtensibleMatch
	Initial []byte    // Substrings; nil = none
	Any     [][]byte
	Final   []byte
	Rule    string // ExtensibleMatch: matching rule name or OID, empty = that of Attr
	DNAttrs bool   // ExtensibleMatch: the attributes of the DN count too
}

// A SearchRequest is RFC 4511 section 4.5.1. Limits of 0 mean the server's own.
type SearchRequest struct {
	Base       string
	Scope      Scope
	SizeLimit  int
	TimeLimit  time.Duration
	TypesOnly  bool
	Filter     *Filter
	Assert     *Filter  // what the base must be like, else result 122 (RFC 4528); nil = anything
	Attributes []string // empty = all user attributes; "*", "+", "1.1", "@class" as in RFC 4511, 3673, 4529

	RootDSE []Attribute // what the protocol server knows of itself: joined to the answer for base "" (RFC 4512 section 5.1)
}

// A ChangeOp is an operation of modify, with its number on the wire (RFC 4511 section 4.6, RFC 4525).
type ChangeOp int

// The operations.
const (
	AddValues ChangeOp = iota
	DeleteValues
	ReplaceValues
	IncrementValues
)

// A Change is one step of a modify; the steps of one modify are applied in order, all or none.
type Change struct {
	Op        ChangeOp
	Attribute Attribute
}

// An Error is a refusal with its LDAP result code (RFC 4511 appendix A, numbers as in go-ldap's LDAPResult constants).
type Error struct {
	Code    int
	Matched string // the last entry found on the way, for noSuchObject
	Text    string // diagnostic message
	Policy  PolicyError
}

// Error names the code and the text.
func (e *Error) Error() string { return fmt.Sprintf("ldap result %d: %s", e.Code, e.Text) }
