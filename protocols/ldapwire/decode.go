package ldapwire

import (
	"fmt"
	"math"
	"time"

	"github.com/dirpost/dirpost/directory/dit"
	"github.com/go-ldap/ldap/v3"
)

// Limits bound what one message may hold. Zero fields mean the defaults.
type Limits struct {
	FilterDepth int // nested and, or, not: 32
	FilterNodes int // 256
	Attributes  int // attributes asked for, changed or added: 1024
	Values      int // values in a message: 100,000
	Controls    int // 16
}

// withDefaults fills in what is zero.
func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{{&l.FilterDepth, 32}, {&l.FilterNodes, 256}, {&l.Attributes, 1024}, {&l.Values, 100_000}, {&l.Controls, 16}} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return l
}

// maxInt is the greatest integer of the protocol (RFC 4511 section 4.1.1).
const maxInt = math.MaxInt32

// A decoder counts what one message has used of its limits and keeps its first fault.
type decoder struct {
	limits Limits
	nodes  int
	values int
	err    error
}

// refuse records an answer to a message that is well formed and impossible.
func (d *decoder) refuse(code int, text string) {
	if d.err == nil {
		d.err = &dit.Error{Code: code, Text: text}
	}
}

// bound counts n against limit.
func (d *decoder) bound(n, limit int, what string) {
	if n > limit {
		d.refuse(ldap.LDAPResultAdminLimitExceeded, fmt.Sprintf("more than %d %s", limit, what))
	}
}

// Decode reads one message from a frame, which it neither changes nor copies. With a [dit.Error] the message has
// its ID and a Request that knows its response, and nothing more. Any other error is a [SyntaxError].
func Decode(frame []byte, limits Limits) (Message, error) {
	d := &decoder{limits: limits.withDefaults()}
	outer := reader{buf: frame, d: d}
	in := outer.sequence()
	if outer.more() {
		outer.syntax("octets follow the message")
	}
	m := Message{ID: int32(in.integer(tagInteger, maxInt))}
	m.Request = in.request()
	if in.at(context | constructed) {
		m.Controls = in.controls()
	}
	in.end()
	return m, d.err
}

// request takes the operation.
func (r *reader) request() Request {
	tag, op := r.next()
	switch tag {
	case 0x60:
		return op.bind()
	case 0x42:
		return &UnbindRequest{}
	case 0x63:
		return op.search()
	case 0x66:
		return op.modify()
	case 0x68:
		return op.add()
	case 0x4a:
		return &DeleteRequest{string(op.buf)}
	case 0x6c:
		return op.modifyDN()
	case 0x6e:
		return op.compare()
	case 0x50:
		id := op.number()
		if id < 0 || id > maxInt {
			op.syntax("no message number")
		}
		return &AbandonRequest{int32(id)}
	case 0x77:
		return op.extended()
	}
	op.syntax("operation is unknown")
	return nil
}

// bind is BindRequest (RFC 4511 section 4.2).
func (r *reader) bind() Request {
	req := &BindRequest{Version: int(r.integer(tagInteger, 127)), Name: r.text()}
	switch tag, auth := r.next(); tag {
	case context:
		req.Password = auth.buf
	case context | constructed | 3:
		req.Mechanism = auth.text()
		if auth.at(tagOctetString) {
			req.Credentials = auth.octets(tagOctetString)
		}
		auth.end()
		if req.Mechanism == "" {
			r.d.refuse(ldap.LDAPResultAuthMethodNotSupported, "mechanism is empty")
		}
	default:
		r.d.refuse(ldap.LDAPResultAuthMethodNotSupported, "authentication choice is unknown")
	}
	r.end()
	return req
}

// search is SearchRequest (RFC 4511 section 4.5.1).
func (r *reader) search() Request {
	req := &SearchRequest{}
	req.Base = r.text()
	scope := r.integer(tagEnumerated, maxInt)
	if scope > int64(dit.WholeSubtree) {
		r.d.refuse(ldap.LDAPResultProtocolError, "scope is unknown")
	}
	req.Scope = dit.Scope(scope)
	r.integer(tagEnumerated, maxInt)
	req.SizeLimit = int(r.integer(tagInteger, maxInt))
	req.TimeLimit = time.Duration(r.integer(tagInteger, maxInt)) * time.Second
	req.TypesOnly = r.boolean(tagBoolean)
	req.Filter = r.filter(1)
	list := r.sequence()
	for list.more() {
		req.Attributes = append(req.Attributes, list.text())
		r.d.bound(len(req.Attributes), r.d.limits.Attributes, "attributes")
	}
	r.end()
	return req
}

// modify is ModifyRequest (RFC 4511 section 4.6).
func (r *reader) modify() Request {
	req := &ModifyRequest{DN: r.text()}
	list := r.sequence()
	for list.more() {
		one := list.sequence()
		op := one.integer(tagEnumerated, maxInt)
		if op > int64(dit.IncrementValues) {
			r.d.refuse(ldap.LDAPResultProtocolError, "change is unknown")
		}
		req.Changes = append(req.Changes, dit.Change{Op: dit.ChangeOp(op), Attribute: one.attribute()})
		one.end()
		r.d.bound(len(req.Changes), r.d.limits.Attributes, "changes")
	}
	r.end()
	return req
}

// add is AddRequest (RFC 4511 section 4.7).
func (r *reader) add() Request {
	req := &AddRequest{dit.Entry{DN: r.text()}}
	list := r.sequence()
	for list.more() {
		a := list.attribute()
		if len(a.Values) == 0 {
			r.d.refuse(ldap.LDAPResultProtocolError, "attribute without values")
		}
		req.Entry.Attributes = append(req.Entry.Attributes, a)
		r.d.bound(len(req.Entry.Attributes), r.d.limits.Attributes, "attributes")
	}
	r.end()
	return req
}

// attribute takes a PartialAttribute (RFC 4511 section 4.1.7).
func (r *reader) attribute() dit.Attribute {
	one := r.sequence()
	a := dit.Attribute{Name: one.text()}
	set := one.element(tagSet, "a set is expected")
	for set.more() {
		a.Values = append(a.Values, set.octets(tagOctetString))
		r.d.values++
		r.d.bound(r.d.values, r.d.limits.Values, "values")
	}
	one.end()
	return a
}

// modifyDN is ModifyDNRequest (RFC 4511 section 4.9).
func (r *reader) modifyDN() Request {
	req := &ModifyDNRequest{DN: r.text(), NewRDN: r.text(), DeleteOld: r.boolean(tagBoolean)}
	if r.at(context) {
		req.Move = true
		req.NewSuperior = string(r.octets(context))
	}
	r.end()
	return req
}

// compare is CompareRequest (RFC 4511 section 4.10).
func (r *reader) compare() Request {
	req := &CompareRequest{DN: r.text()}
	ava := r.sequence()
	req.Attr, req.Value = ava.text(), ava.octets(tagOctetString)
	ava.end()
	r.end()
	return req
}

// extended is ExtendedRequest (RFC 4511 section 4.12).
func (r *reader) extended() Request {
	req := &ExtendedRequest{OID: string(r.octets(context))}
	if r.at(context | 1) {
		req.Value = r.octets(context | 1)
	}
	r.end()
	return req
}

// controls takes Controls (RFC 4511 section 4.1.11).
func (r *reader) controls() []Control {
	var controls []Control
	_, list := r.next()
	for list.more() {
		one := list.sequence()
		c := Control{OID: one.text()}
		if one.at(tagBoolean) {
			c.Critical = one.boolean(tagBoolean)
		}
		if one.at(tagOctetString) {
			c.Value = one.octets(tagOctetString)
		}
		one.end()
		controls = append(controls, c)
		r.d.bound(len(controls), r.d.limits.Controls, "controls")
	}
	return controls
}
