package submit

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"slices"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols"
	"github.com/dirpost/dirpost/protocols/delivery/trace"
)

// maxAuthors bounds those a message names as authors: each costs a question to the directory.
const maxAuthors = 20

// checkHeader judges the header of a message: one From field, all of whose mailboxes the identity may use, and the same
// for Sender if there is one (RFC 5322 section 3.6.2). Who puts another's message on its way again says so in Resent-From
// and Resent-Sender (section 3.6.6), of which there may be many; these are claims as well, and From stays one, so nobody
// can resend what others wrote. A refusal is a [protocols.Reply]; any other error means that nobody can tell now.
func (s *Submission) checkHeader(ctx context.Context, msg *trace.Message) error {
	// A line that is no field would be skipped by some readers, which then see another From than we do.
	if msg.Malformed {
		return malformed("the header has a line that is no header field")
	}
	from, sender := msg.Values("From"), msg.Values("Sender")
	if len(from) != 1 {
		return malformed("a message needs exactly one From field")
	}
	if len(sender) > 1 {
		return malformed("a message has at most one Sender field")
	}
	resent := append(msg.Values("Resent-From"), msg.Values("Resent-Sender")...)
	var authors []directory.Address
	for _, value := range slices.Concat(from, sender, resent) {
		named, err := parseMailboxes(value)
		if err != nil {
			return err
		}
		for _, author := range named {
			if !slices.Contains(authors, author) {
				authors = append(authors, author)
			}
		}
		if len(authors) > maxAuthors {
			return malformed("From, Sender and Resent fields have too many addresses")
		}
	}
	for _, author := range authors {
		if err := s.checkAuthor(ctx, author); err != nil {
			return err
		}
	}
	return nil
}

func (s *Submission) checkAuthor(ctx context.Context, author directory.Address) error {
	ok, err := s.resolver.MaySend(ctx, s.who.Account, author)
	if err != nil {
		return fmt.Errorf("author %s: %w", author, err)
	}
	if !ok {
		return protocols.Reply{Code: 550, Enhanced: "5.7.1", Text: fmt.Sprintf("you may not write as %s", author)}
	}
	s.used(author)
	return nil
}

// parseMailboxes returns the addresses of an unfolded From, Sender or Resent field, at least one. Its errors are
// [protocols.Reply].
func parseMailboxes(value string) ([]directory.Address, error) {
	// Names in a charset we do not know are names all the same; only the addresses matter.
	asIs := func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	parser := mail.AddressParser{WordDecoder: &mime.WordDecoder{CharsetReader: asIs}}
	list, err := parser.ParseList(value)
	if err != nil || len(list) == 0 {
		return nil, malformed("From, Sender or a Resent field cannot be read as addresses")
	}
	if len(list) > maxAuthors {
		return nil, malformed("From has too many addresses")
	}
	authors := make([]directory.Address, len(list))
	for i, one := range list {
		if authors[i], err = directory.ParseAddress(one.Address); err != nil {
			return nil, malformed("From, Sender or a Resent field has an address that cannot be used here")
		}
	}
	return authors, nil
}

// malformed refuses a message for its form.
func malformed(why string) error {
	return protocols.Reply{Code: 550, Enhanced: "5.6.0", Text: why}
}
