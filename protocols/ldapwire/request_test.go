package ldapwire

import (
	"time"

	"github.com/dirpost/dirpost/directory/dit"
)

// encode is the inverse of Decode, which only tests need.
func encode(m Message) []byte {
	w := builder{}
	message := w.open(tagSequence)
	w.integer(tagInteger, int64(m.ID))
	w.request(m.Request)
	w.controls(m.Controls)
	w.close(message)
	return w.b
}

func (w *builder) request(request Request) {
	switch r := request.(type) {
	case *BindRequest:
		op := w.open(0x60)
		w.integer(tagInteger, int64(r.Version))
		octets(w, tagOctetString, r.Name)
		if r.Mechanism == "" {
			octets(w, context, r.Password)
		} else {
			auth := w.open(context | constructed | 3)
			octets(w, tagOctetString, r.Mechanism)
			if r.Credentials != nil {
				octets(w, tagOctetString, r.Credentials)
			}
			w.close(auth)
		}
		w.close(op)
	case *UnbindRequest:
		w.close(w.open(0x42))
	case *SearchRequest:
		w.search(r)
	case *ModifyRequest:
		op := w.open(0x66)
		octets(w, tagOctetString, r.DN)
		list := w.open(tagSequence)
		for _, c := range r.Changes {
			one := w.open(tagSequence)
			w.integer(tagEnumerated, int64(c.Op))
			w.attribute(c.Attribute)
			w.close(one)
		}
		w.close(list)
		w.close(op)
	case *AddRequest:
		op := w.open(0x68)
		octets(w, tagOctetString, r.Entry.DN)
		list := w.open(tagSequence)
		for _, a := range r.Entry.Attributes {
			w.attribute(a)
		}
		w.close(list)
		w.close(op)
	case *DeleteRequest:
		octets(w, 0x4a, r.DN)
	case *ModifyDNRequest:
		op := w.open(0x6c)
		octets(w, tagOctetString, r.DN)
		octets(w, tagOctetString, r.NewRDN)
		w.boolean(tagBoolean, r.DeleteOld)
		if r.Move {
			octets(w, context, r.NewSuperior)
		}
		w.close(op)
	case *CompareRequest:
		op := w.open(0x6e)
		octets(w, tagOctetString, r.DN)
		ava := w.open(tagSequence)
		octets(w, tagOctetString, r.Attr)
		octets(w, tagOctetString, r.Value)
		w.close(ava)
		w.close(op)
	case *AbandonRequest:
		w.integer(0x50, int64(r.ID))
	case *ExtendedRequest:
		op := w.open(0x77)
		octets(w, context, r.OID)
		if r.Value != nil {
			octets(w, context|1, r.Value)
		}
		w.close(op)
	}
}

func (w *builder) search(r *SearchRequest) {
	op := w.open(0x63)
	octets(w, tagOctetString, r.Base)
	w.integer(tagEnumerated, int64(r.Scope))
	w.integer(tagEnumerated, 0)
	w.integer(tagInteger, int64(r.SizeLimit))
	w.integer(tagInteger, int64(r.TimeLimit/time.Second))
	w.boolean(tagBoolean, r.TypesOnly)
	w.filter(r.Filter)
	list := w.open(tagSequence)
	for _, a := range r.Attributes {
		octets(w, tagOctetString, a)
	}
	w.close(list)
	w.close(op)
}

func (w *builder) boolean(tag byte, v bool) {
	octet := byte(0)
	if v {
		octet = 0xff
	}
	w.b = append(w.b, tag, 1, octet)
}

func (w *builder) filter(f *dit.Filter) {
	tag := context | constructed | byte(f.Kind)
	switch f.Kind {
	case dit.And, dit.Or, dit.Not:
		set := w.open(tag)
		for _, s := range f.Subs {
			w.filter(s)
		}
		w.close(set)
	case dit.Substrings:
		node := w.open(tag)
		octets(w, tagOctetString, f.Attr)
		list := w.open(tagSequence)
		if f.Initial != nil {
			octets(w, context, f.Initial)
		}
		for _, a := range f.Any {
			octets(w, context|1, a)
		}
		if f.Final != nil {
			octets(w, context|2, f.Final)
		}
		w.close(list)
		w.close(node)
	case dit.Present:
		octets(w, context|byte(f.Kind), f.Attr)
	case dit.ExtensibleMatch:
		node := w.open(tag)
		if f.Rule != "" {
			octets(w, context|1, f.Rule)
		}
		if f.Attr != "" {
			octets(w, context|2, f.Attr)
		}
		octets(w, context|3, f.Value)
		if f.DNAttrs {
			w.boolean(context|4, true)
		}
		w.close(node)
	default:
		node := w.open(tag)
		octets(w, tagOctetString, f.Attr)
		octets(w, tagOctetString, f.Value)
		w.close(node)
	}
}
