package dit

import (
	"regexp"
	"slices"

	"github.com/dirpost/dirpost/schema"
)

// constraints are the forms of values that the schema cannot say, the same as the reference configuration of slapd has.
var constraints = []struct {
	attrs []string
	form  *regexp.Regexp
}{
	{[]string{schema.AttrDpAccountStatus}, regexp.MustCompile(`^(active|nologin|suspended|deleted)$`)},
	{[]string{schema.AttrDpCertSHA256, schema.AttrDpCertSPKI}, regexp.MustCompile(`^[0-9a-f]{64}$`)},
	{
		[]string{schema.AttrMailLocalAddress, schema.AttrDpSendAddress, schema.AttrDpForward, schema.AttrDpCertEmail},
		regexp.MustCompile(`^[^@[:space:]]*@[A-Za-z0-9.-]+$`),
	},
	{[]string{schema.AttrDpAuthPolicy}, regexp.MustCompile(`^(password|certificate|either|both)$`)},
	{[]string{schema.AttrDpPublicAttribute}, regexp.MustCompile(`^(telephoneNumber|mobile|title|displayName|labeledURI|jpegPhoto|l)$`)},
	{[]string{schema.AttrDpAppPassword}, regexp.MustCompile(`^[^$]*[$][a-z0-9,]*[$][0-9A-Fa-f.:/,]*[$]([0-9]{14}Z)?[$].+$`)},
	{[]string{schema.AttrDpMailService}, regexp.MustCompile(`^(submission|imap|pop3|managesieve|webmail|admin)$`)},
}

// unique are the attributes of which no two entries may have the same value. Each is indexed.
var unique = []string{
	schema.AttrMailLocalAddress, schema.AttrMail, schema.AttrDpSendAddress, schema.AttrUid, schema.AttrDpMailboxId,
	schema.AttrAssociatedDomain, schema.AttrDpCertSHA256, schema.AttrDpCertSPKI, schema.AttrDpCertIssuerSerial,
	schema.AttrDpCertSubject, schema.AttrDpCertEmail,
}

// constrain tests values that a client writes.
func constrain(d description, values [][]byte) error {
	for _, c := range constraints {
		if !slices.Contains(c.attrs, d.typ.Name()) {
			continue
		}
		for _, v := range values {
			if !c.form.Match(v) {
				return refuse(codeConstraint, "%s: value breaks the constraint %s", d.text, c.form)
			}
		}
	}
	return nil
}

// checkUnique tests the values of after that before has not. The caller holds write, so no other change comes between
// this and the commit.
func (t *Tree) checkUnique(before, after *record) error {
	for _, a := range after.attrs {
		if !slices.Contains(unique, a.typ.Name()) {
			continue
		}
		values := a.values
		if before != nil {
			if b := before.find(a.description); b != nil {
				values = notIn(values, b.values)
			}
		}
		for _, v := range values {
			taken, err := t.taken(a.typ, string(v), after.id)
			if err != nil {
				return err
			}
			if taken {
				return refuse(codeConstraint, "%s: value is not unique in the directory", a.typ.Name())
			}
		}
	}
	return nil
}

// taken reports whether an entry other than id has the value. The index names suspects, the entries decide.
func (t *Tree) taken(typ *attrType, value string, id uint32) (bool, error) {
	form, ok := typ.equality.norm(t.catalog, value)
	if !ok {
		return false, nil
	}
	t.mu.RLock()
	suspects := slices.Clone(t.index.entries(t.index.hash(typ, form)))
	t.mu.RUnlock()
	views, err := t.views(suspects)
	return slices.ContainsFunc(views, func(v *view) bool {
		return v.id != id && slices.ContainsFunc(v.attrs, func(a attribute) bool {
			return a.typ == typ && t.catalog.hasValue(v.record, a.description, form)
		})
	}), err
}

// checkMembers refuses new members of a group that have no entry: a name that somebody makes later must not find itself
// in a group. An export is what it is.
func (t *Tree) checkMembers(before, after *record) error {
	group := t.catalog.plain[schema.AttrObjectClass]
	if after.restored || !t.catalog.hasValue(after, group, groupClass) {
		return nil
	}
	member := t.catalog.plain[schema.AttrMember]
	a := after.find(member)
	if a == nil {
		return nil
	}
	values := a.values
	if before != nil {
		if b := before.find(member); b != nil {
			values = notIn(values, b.values)
		}
	}
	for _, v := range values {
		d, err := t.catalog.parseDN(string(v))
		if err != nil {
			return refuse(codeBadSyntax, "member: invalid name")
		}
		if id, _ := t.find(d); id == 0 {
			return refuse(codeConstraint, "adding non-existing object as group member")
		}
	}
	return nil
}

// refintAttrs are the attributes whose values follow the entries that they name. Each is indexed.
var refintAttrs = []string{
	schema.AttrMember, schema.AttrRoleOccupant, schema.AttrOwner, schema.AttrDpSendGrant,
	schema.AttrDpFallbackRecipient, schema.AttrDpAdminScope,
}

// nobody, in the naming context, is the name that stands in for the last one an attribute has lost.
const nobody = "cn=nobody,ou=services"
