package ldapwire

import (
	"time"

	"github.com/dirpost/dirpost/directory/dit"
)

// The values that controls and extended operations carry are BER of their own, packed into an octet string. Their
// faults are faults of the value, not of the message: the operation is refused and the session goes on.

// A PageRequest is the value of the control for paged results (RFC 2696 section 2).
type PageRequest struct {
	Size   int
	Cookie []byte // empty on the first page
}

// DecodePage reads the value of the paged results control. The error is a [SyntaxError].
func DecodePage(value []byte) (PageRequest, error) {
	d := &decoder{}
	outer := reader{buf: value, d: d}
	in := outer.sequence()
	p := PageRequest{Size: int(in.integer(tagInteger, maxInt)), Cookie: in.octets(tagOctetString)}
	in.end()
	outer.end()
	return p, d.err
}

// EncodePage makes the value of the control in the answer: how many entries there are, 0 for "not known", and the
// cookie that asks for the next page, empty on the last.
func EncodePage(size int, cookie []byte) []byte {
	w := builder{}
	seq := w.open(tagSequence)
	w.integer(tagInteger, int64(size))
	octets(&w, tagOctetString, cookie)
	w.close(seq)
	return w.b
}

// A PasswordModify is the value of the operation of RFC 3062. Identity is empty and the passwords are nil where they
// are absent.
type PasswordModify struct {
	Identity string
	Old, New []byte
}

// DecodePasswordModify reads the value of a password modify request; a nil value is an empty request. The error is
// a [SyntaxError].
func DecodePasswordModify(value []byte) (PasswordModify, error) {
	var p PasswordModify
	if value == nil {
		return p, nil
	}
	d := &decoder{}
	outer := reader{buf: value, d: d}
	in := outer.sequence()
	if in.at(context) {
		p.Identity = string(in.octets(context))
	}
	if in.at(context | 1) {
		p.Old = in.octets(context | 1)
	}
	if in.at(context | 2) {
		p.New = in.octets(context | 2)
	}
	in.end()
	outer.end()
	return p, d.err
}

// EncodePasswordModify makes the value of the response that tells a generated password.
func EncodePasswordModify(generated []byte) []byte {
	w := builder{}
	seq := w.open(tagSequence)
	octets(&w, context, generated)
	w.close(seq)
	return w.b
}

// EncodeNotice makes the value of the control that answers the one for the password policy
// (draft-behera-ldap-password-policy-11 section 6.2): a warning or none, and an error or none.
func EncodeNotice(n dit.Notice) []byte {
	w := builder{}
	seq := w.open(tagSequence)
	if n.Expires > 0 || n.Expired {
		warning := w.open(context | constructed)
		if n.Expired {
			w.integer(context|1, int64(n.Grace))
		} else {
			w.integer(context, int64(n.Expires/time.Second))
		}
		w.close(warning)
	}
	if n.Error != dit.NoPolicyError {
		w.integer(context|1, int64(n.Error-1))
	}
	w.close(seq)
	return w.b
}

// DecodeBoolean reads a value that is one BOOLEAN, such as that of the subentries control (RFC 3672 section 3). The
// error is a [SyntaxError].
func DecodeBoolean(value []byte) (bool, error) {
	d := &decoder{}
	in := reader{buf: value, d: d}
	b := in.boolean(tagBoolean)
	in.end()
	return b, d.err
}

// DecodeAssertion reads the value of the assertion control, which is a filter (RFC 4528 section 3). The error is a
// [SyntaxError], or a [dit.Error] for a filter that is too large.
func DecodeAssertion(value []byte, limits Limits) (*dit.Filter, error) {
	d := &decoder{limits: limits.withDefaults()}
	in := reader{buf: value, d: d}
	f := in.filter(1)
	if in.more() {
		in.syntax("octets follow the filter")
	}
	return f, d.err
}

// DecodeSelection reads the value of a pre-read or post-read request: a list of attributes (RFC 4527 section 3). The error
// is a [SyntaxError], or a [dit.Error] for a list that is too long.
func DecodeSelection(value []byte, limits Limits) ([]string, error) {
	d := &decoder{limits: limits.withDefaults()}
	outer := reader{buf: value, d: d}
	var names []string
	for list := outer.sequence(); list.more(); {
		names = append(names, list.text())
		d.bound(len(names), d.limits.Attributes, "attributes")
	}
	outer.end()
	return names, d.err
}

// EncodeEntry makes the value of the control that answers such a request.
func EncodeEntry(e *dit.Entry) []byte {
	w := builder{}
	w.entry(e)
	return w.b
}
