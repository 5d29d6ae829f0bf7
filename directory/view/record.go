package view

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/schema"
)

// Attributes are what is known of an entry, and what a server is to be asked for: a named list, never "+" or "*", so that
// no secret comes along. Certificates are left out for their size. A file of a snapshot that was written with another list
// is not read.
var Attributes = []string{
	schema.AttrObjectClass, schema.AttrEntryUUID, schema.AttrUid, schema.AttrCn, schema.AttrMail,
	schema.AttrMailLocalAddress, schema.AttrMailHost, schema.AttrMailRoutingAddress,
	schema.AttrMember, schema.AttrRoleOccupant, schema.AttrRfc822MailMember, schema.AttrOwner, schema.AttrAssociatedDomain,
	schema.AttrDpAccountStatus, schema.AttrDpMailService, schema.AttrDpMailboxId, schema.AttrDpQuotaBytes,
	schema.AttrDpQuotaMessages, schema.AttrDpSendAddress, schema.AttrDpSendGrant, schema.AttrDpSenderPolicy, schema.AttrDpTransport,
	schema.AttrDpAliasDomainOf, schema.AttrDpRequiredLocalPart, schema.AttrDpFallbackRecipient, schema.AttrDpTerm,
	schema.AttrDpAllowedNetwork, schema.AttrDpAuthPolicy, schema.AttrDpForward, schema.AttrDpForwardKeep, schema.AttrDpAdminRight,
	schema.AttrDpCertSHA256, schema.AttrDpCertSPKI, schema.AttrDpCertIssuerSerial, schema.AttrDpCertSubject, schema.AttrDpCertEmail,
	schema.AttrPwdChangedTime, schema.AttrEntryCSN,
}

// classes are the object classes that questions are about; others are not kept.
var classes = []string{
	schema.ClassDpMailAccount, schema.ClassOrganizationalRole, schema.ClassGroupOfNames, schema.ClassDpMailDomain,
	schema.ClassDpSharedFolder, schema.ClassDpAdminRole, schema.ClassApplicationProcess,
}

// An ID is the entryUUID of an entry (RFC 4530): what stays when it is renamed.
type ID [16]byte

// ParseID reads an ID as servers write it.
func ParseID(s string) (ID, error) {
	var id ID
	digits := strings.ReplaceAll(s, "-", "")
	if len(digits) != 2*len(id) {
		return id, fmt.Errorf("%q is no UUID", s)
	}
	_, err := hex.Decode(id[:], []byte(digits))
	return id, err
}

// A record is an entry in the least room: its name and the values of Attributes, packed.
type record struct {
	id     ID
	packed string
}

// numbers has the place of each attribute in Attributes, by its name in lower case.
var numbers = func() map[string]int {
	m := map[string]int{}
	for i, name := range Attributes {
		m[strings.ToLower(name)] = i
	}
	return m
}()

// words are values that many entries have; they take one octet each.
var words = append([]string{
	"active", "nologin", "suspended", "deleted", "submission", "imap", "pop3", "managesieve", "webmail", "admin",
	"password", "certificate", "either", "both", "TRUE", "FALSE",
}, classes...)

// pack returns the record of an entry. Attributes that are not in the list are left out, and so is entryUUID, which the
// record has beside.
func pack(id ID, e *ldap.Entry) *record {
	b := binary.AppendUvarint(nil, uint64(len(e.DN)))
	b = append(b, e.DN...)
	for _, a := range e.Attributes {
		number, ok := numbers[strings.ToLower(a.Name)]
		if !ok || Attributes[number] == schema.AttrEntryUUID || len(a.Values) == 0 {
			continue
		}
		values := a.Values
		if Attributes[number] == schema.AttrObjectClass {
			values = known(values)
		}
		b = append(b, byte(number))
		b = binary.AppendUvarint(b, uint64(len(values)))
		for _, v := range values {
			b = packValue(b, v)
		}
	}
	return &record{id, string(b)}
}

// known returns the classes that are kept, as this package spells them.
func known(values []string) []string {
	var kept []string
	for _, v := range values {
		for _, class := range classes {
			if strings.EqualFold(v, class) {
				kept = append(kept, class)
			}
		}
	}
	return kept
}

func packValue(b []byte, v string) []byte {
	for i, word := range words {
		if v == word {
			return binary.AppendUvarint(b, uint64(i)<<1|1)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(v))<<1)
	return append(b, v...)
}

// errPacked: a file says it has records, and it does not.
var errPacked = errors.New("record is damaged")

// dn returns the name of the entry.
func (r *record) dn() string {
	u := unpacker{rest: r.packed}
	return u.text(u.number())
}

// entry returns the entry. Its strings are parts of the record, so this costs little more than the slices.
func (r *record) entry() (*ldap.Entry, error) {
	u := unpacker{rest: r.packed}
	e := &ldap.Entry{DN: u.text(u.number())}
	id := hex.EncodeToString(r.id[:])
	id = id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
	list := make([]ldap.EntryAttribute, 1, 16)
	list[0] = ldap.EntryAttribute{Name: schema.AttrEntryUUID, Values: []string{id}}
	for u.rest != "" && !u.bad {
		number := int(u.octet())
		n := u.number()
		if number >= len(Attributes) || n > uint64(len(u.rest)) {
			u.bad = true
			break
		}
		values := make([]string, 0, n)
		for range n {
			values = append(values, u.value())
		}
		list = append(list, ldap.EntryAttribute{Name: Attributes[number], Values: values})
	}
	if u.bad {
		return nil, errPacked
	}
	e.Attributes = make([]*ldap.EntryAttribute, len(list))
	for i := range list {
		e.Attributes[i] = &list[i]
	}
	return e, nil
}

// An unpacker reads a record; once bad it yields nothing more.
type unpacker struct {
	rest string
	bad  bool
}

func (u *unpacker) octet() byte {
	if u.rest == "" {
		u.bad = true
		return 0
	}
	c := u.rest[0]
	u.rest = u.rest[1:]
	return c
}

func (u *unpacker) number() uint64 {
	var n uint64
	for shift := uint(0); shift < 64; shift += 7 {
		c := u.octet()
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return n
		}
	}
	u.bad = true
	return 0
}

func (u *unpacker) text(n uint64) string {
	if n > uint64(len(u.rest)) {
		u.bad = true
		return ""
	}
	s := u.rest[:n]
	u.rest = u.rest[n:]
	return s
}

func (u *unpacker) value() string {
	n := u.number()
	if n&1 == 0 {
		return u.text(n >> 1)
	}
	if n>>1 >= uint64(len(words)) {
		u.bad = true
		return ""
	}
	return words[n>>1]
}
