package imapd

import (
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/dirpost/dirpost/storage/message"
)

// summary finds ENVELOPE and BODYSTRUCTURE, as far as they are asked for.
func (f *fetcher) summary(t *text) (*imap.Envelope, imap.BodyStructure, error) {
	var structure imap.BodyStructure
	if f.options.BodyStructure != nil {
		tree, err := t.parse()
		if err != nil {
			return nil, nil, err
		}
		if structure, err = t.structure(tree.Root); err != nil {
			return nil, nil, err
		}
	}
	if !f.options.Envelope {
		return nil, structure, nil
	}
	h, err := t.header()
	if err != nil {
		return nil, nil, err
	}
	return envelope(h.Envelope()), structure, nil
}

// structure is the BODYSTRUCTURE of a part (RFC 9051 section 7.5.2), always with the extension data: the engine leaves
// them out for BODY.
func (t *text) structure(p *message.Part) (imap.BodyStructure, error) {
	var disposition *imap.BodyStructureDisposition
	if p.Disposition != "" {
		disposition = &imap.BodyStructureDisposition{Value: p.Disposition, Params: params(p.DispParams)}
	}
	if p.Parts != nil {
		multi := &imap.BodyStructureMultiPart{
			Subtype: p.Subtype,
			Extended: &imap.BodyStructureMultiPartExt{
				Params: params(p.Params), Disposition: disposition, Language: p.Language, Location: p.Location,
			},
		}
		for _, child := range p.Parts {
			s, err := t.structure(child)
			if err != nil {
				return nil, err
			}
			multi.Children = append(multi.Children, s)
		}
		return multi, nil
	}
	single := &imap.BodyStructureSinglePart{
		Type: p.Type, Subtype: p.Subtype, Params: params(p.Params), ID: p.ID, Description: p.Description,
		Encoding: p.Encoding, Size: uint32(p.Size()),
		Extended: &imap.BodyStructureSinglePartExt{Disposition: disposition, Language: p.Language, Location: p.Location},
	}
	switch {
	case p.Message != nil:
		inner, err := t.structure(p.Message)
		if err != nil {
			return nil, err
		}
		h, err := t.tree.HeaderOf(t.src, p.Message)
		if err != nil {
			return nil, err
		}
		single.MessageRFC822 = &imap.BodyStructureMessageRFC822{
			Envelope: envelope(h.Envelope()), BodyStructure: inner, NumLines: p.Lines(),
		}
	case p.Type == "text":
		single.Text = &imap.BodyStructureText{NumLines: p.Lines()}
	}
	return single, nil
}

func params(list []message.Param) map[string]string {
	out := make(map[string]string, len(list))
	for _, p := range list {
		out[p.Name] = p.Value
	}
	return out
}

// envelope is an ENVELOPE as the engine takes it.
func envelope(e message.Envelope) *imap.Envelope {
	out := &imap.Envelope{
		Subject: message.UTF8(e.Subject),
		From:    addresses(e.From), Sender: addresses(e.Sender), ReplyTo: addresses(e.ReplyTo),
		To: addresses(e.To), Cc: addresses(e.Cc), Bcc: addresses(e.Bcc),
		MessageID: bare(e.MessageID),
	}
	if date, ok := message.ParseDate(e.Date); ok {
		out.Date = date
	}
	if ids := bare(e.InReplyTo); ids != "" {
		out.InReplyTo = []string{ids} // the engine puts the outer brackets back
	}
	return out
}

// bare takes the outer angle brackets off one or several message ids. What has none gets them from the engine.
func bare(ids string) string {
	return strings.TrimSuffix(strings.TrimPrefix(ids, "<"), ">")
}

// What stands for the missing half of an address: a NIL would make a group of it (RFC 9051 section 7.5.2). The domain
// cannot exist (RFC 2606 section 2).
const (
	missingUser = "missing-mailbox"
	missingHost = "missing-domain.invalid"
)

func addresses(list []message.Address) []imap.Address {
	out := make([]imap.Address, 0, len(list))
	for _, a := range list {
		switch a.Kind {
		case message.GroupStart:
			out = append(out, imap.Address{Mailbox: a.Name})
			continue
		case message.GroupEnd:
			out = append(out, imap.Address{})
			continue
		}
		if a.User == "" {
			a.User = missingUser
		}
		if a.Host == "" {
			a.Host = missingHost
		}
		out = append(out, imap.Address{Name: message.UTF8(a.Name), Mailbox: a.User, Host: a.Host})
	}
	return out
}
