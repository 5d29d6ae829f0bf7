package imapd

import (
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"github.com/dirpost/dirpost/storage/mailbox"
)

// delimiter divides the levels of a mailbox name.
const delimiter = '/'

// Bounds on what one LIST may ask.
const (
	maxPatterns    = 20
	maxPatternSize = 2048 // of all patterns and the reference together
)

// List is LIST and LSUB (RFC 9051 section 6.3.9, RFC 5258, RFC 6154).
func (s *session) List(w *imapserver.ListWriter, ref string, patterns []string, options *imap.ListOptions) error {
	if len(patterns) == 0 { // LIST "" "" asks for the delimiter
		return w.WriteList(&imap.ListData{Attrs: []imap.MailboxAttr{imap.MailboxAttrNoSelect}, Delim: delimiter})
	}
	if len(patterns) > maxPatterns || len(ref)+len(strings.Join(patterns, "")) > maxPatternSize {
		return s.reply(errComplex)
	}
	folders, err := s.home.Folders(s.ctx)
	if err != nil {
		return s.reply(err)
	}
	above := subscribedBelow(folders, options.SelectRecursiveMatch)
	for _, f := range folders {
		data := listData(f, above[f.Name], options)
		if data == nil || !matchesAny(f.Name, ref, patterns) {
			continue
		}
		if options.ReturnStatus != nil && !f.NoSelect {
			if data.Status, err = s.Status(f.Name, options.ReturnStatus); err != nil {
				data.Status = nil // gone meanwhile, or broken: RFC 5819 section 2 leaves it out
			}
		}
		if err := w.WriteList(data); err != nil {
			return err
		}
	}
	return nil
}

// subscribedBelow is the set of names that have a subscribed folder below them; empty unless it is wanted.
func subscribedBelow(folders []mailbox.Folder, wanted bool) map[string]bool {
	above := map[string]bool{}
	for _, f := range folders {
		if !wanted || !f.Subscribed {
			continue
		}
		for name := f.Name; ; {
			i := strings.LastIndexByte(name, delimiter)
			if i < 0 || above[name[:i]] {
				break
			}
			name = name[:i]
			above[name] = true
		}
	}
	return above
}

// listData is the line of a folder, nil when the options leave it out.
func listData(f mailbox.Folder, above bool, options *imap.ListOptions) *imap.ListData {
	nameOnly := f.NoSelect && !f.Children // a subscription to what is not there
	switch {
	case options.SelectSpecialUse && f.SpecialUse == "",
		options.SelectSubscribed && !f.Subscribed && !above,
		nameOnly && !options.SelectSubscribed:
		return nil
	}
	data := &imap.ListData{Delim: delimiter, Mailbox: f.Name}
	if nameOnly {
		data.Attrs = append(data.Attrs, imap.MailboxAttrNonExistent)
	}
	if f.NoSelect {
		data.Attrs = append(data.Attrs, imap.MailboxAttrNoSelect)
	}
	if f.Children {
		data.Attrs = append(data.Attrs, imap.MailboxAttrHasChildren)
	} else {
		data.Attrs = append(data.Attrs, imap.MailboxAttrHasNoChildren)
	}
	if f.Subscribed && (options.SelectSubscribed || options.ReturnSubscribed) {
		data.Attrs = append(data.Attrs, imap.MailboxAttrSubscribed)
	}
	if f.SpecialUse != "" {
		data.Attrs = append(data.Attrs, imap.MailboxAttr(f.SpecialUse))
	}
	if above {
		data.ChildInfo = &imap.ListDataChildInfo{Subscribed: true}
	}
	return data
}

// matchesAny reports whether a mailbox is meant by one of the patterns below the reference name. INBOX is INBOX in any
// case.
func matchesAny(name, ref string, patterns []string) bool {
	for _, p := range patterns {
		p = ref + p
		if match(p, name) || name == "INBOX" && match(strings.ToUpper(p), name) {
			return true
		}
	}
	return false
}

// match reports whether the pattern fits the name: * is any octets, % any but the delimiter (RFC 9051 section
// 6.3.9.5). It keeps the set of places in the pattern where one can be, so that no pattern costs more than its length
// times the name's.
func match(pattern, name string) bool {
	at, next := make([]bool, len(pattern)+1), make([]bool, len(pattern)+1)
	at[0] = true
	for n := 0; ; n++ {
		for i := range len(pattern) { // wildcards may stand for nothing
			if at[i] && (pattern[i] == '*' || pattern[i] == '%') {
				at[i+1] = true
			}
		}
		if n == len(name) {
			return at[len(pattern)]
		}
		clear(next)
		for i := range len(pattern) {
			switch p := pattern[i]; {
			case !at[i]:
			case p == '*', p == '%' && name[n] != delimiter:
				next[i] = true
			case p == name[n] && p != '%':
				next[i+1] = true
			}
		}
		at, next = next, at
	}
}
