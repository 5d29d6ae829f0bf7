package dit

import (
	"fmt"
	"strings"

	"github.com/dirpost/dirpost/schema"
)

// subschemaName is the entry that describes the schema (RFC 4512 section 4.2).
const subschemaName = "cn=Subschema"

// special returns the root DSE for the empty name and the subschema entry for its name, or nil. They are open to
// everybody: clients read them before they bind.
func (t *Tree) special(d dn, rootDSE []Attribute) *view {
	var list []Attribute
	switch {
	case len(d.rdns) == 0:
		list = append(t.rootDSE(), rootDSE...)
	case strings.EqualFold(d.norm, subschemaName):
		list = t.catalog.subschema()
	default:
		return nil
	}
	v := &view{record: &record{}, place: place{text: d.text, norm: d.norm}, tree: t, open: true}
	for _, a := range list {
		if desc, err := t.catalog.describe(a.Name); err == nil {
			v.attrs = append(v.attrs, attribute{desc, a.Values})
		}
	}
	return v
}

func (t *Tree) rootDSE() []Attribute {
	contexts := Attribute{Name: schema.AttrNamingContexts}
	for _, s := range t.suffixes {
		contexts.Values = append(contexts.Values, []byte(s.text))
	}
	return []Attribute{
		{schema.AttrObjectClass, texts("top")},
		contexts,
		{schema.AttrSubschemaSubentry, texts(subschemaName)},
		{schema.AttrEntryDN, texts("")},
	}
}

func (c *catalog) subschema() []Attribute {
	var types, classes, rules, known []string
	for _, a := range c.schema.AttributeTypes {
		types = append(types, attributeText(a))
	}
	for _, o := range c.schema.ObjectClasses {
		classes = append(classes, classText(o))
	}
	for _, r := range matchingRules {
		rules = append(rules, fmt.Sprintf("( %s NAME '%s' SYNTAX %s )", r.oid, r.name, r.syntax))
	}
	for _, s := range syntaxes {
		known = append(known, fmt.Sprintf("( %s DESC '%s' )", s.oid, s.name))
	}
	return []Attribute{
		{schema.AttrObjectClass, texts("top", "subschema", "extensibleObject")},
		{schema.AttrCn, texts("Subschema")},
		{schema.AttrSubschemaSubentry, texts(subschemaName)},
		{schema.AttrEntryDN, texts(subschemaName)},
		{schema.AttrLdapSyntaxes, texts(known...)},
		{schema.AttrMatchingRules, texts(rules...)},
		{schema.AttrAttributeTypes, texts(types...)},
		{schema.AttrObjectClasses, texts(classes...)},
	}
}

func texts(values ...string) [][]byte {
	out := make([][]byte, len(values))
	for i, v := range values {
		out[i] = []byte(v)
	}
	return out
}

// attributeText writes an attribute type description, RFC 4512 section 4.1.2.
func attributeText(a *schema.AttributeType) string {
	var b strings.Builder
	fmt.Fprintf(&b, "( %s%s", a.OID, namesText(a.Names, a.Desc))
	for _, f := range []struct{ word, value string }{
		{"SUP", a.Sup}, {"EQUALITY", a.Equality}, {"ORDERING", a.Ordering}, {"SUBSTR", a.Substr},
	} {
		if f.value != "" {
			fmt.Fprintf(&b, " %s %s", f.word, f.value)
		}
	}
	if a.Syntax != "" {
		b.WriteString(" SYNTAX " + a.Syntax)
		if a.MaxLen > 0 {
			fmt.Fprintf(&b, "{%d}", a.MaxLen)
		}
	}
	if a.Single {
		b.WriteString(" SINGLE-VALUE")
	}
	if a.NoUserMod {
		b.WriteString(" NO-USER-MODIFICATION")
	}
	usage := map[schema.Usage]string{
		schema.DirectoryOperation:   " USAGE directoryOperation",
		schema.DistributedOperation: " USAGE distributedOperation",
		schema.DSAOperation:         " USAGE dSAOperation",
	}
	b.WriteString(usage[a.Usage])
	return b.String() + " )"
}

// classText writes an object class description, RFC 4512 section 4.1.1.
func classText(o *schema.ObjectClass) string {
	kinds := map[schema.Kind]string{schema.Structural: " STRUCTURAL", schema.Auxiliary: " AUXILIARY", schema.Abstract: " ABSTRACT"}
	return "( " + o.OID + namesText(o.Names, o.Desc) + listText(" SUP", o.Sup) + kinds[o.Kind] +
		listText(" MUST", o.Must) + listText(" MAY", o.May) + " )"
}

func namesText(names []string, desc string) string {
	var b strings.Builder
	switch len(names) {
	case 0:
	case 1:
		fmt.Fprintf(&b, " NAME '%s'", names[0])
	default:
		fmt.Fprintf(&b, " NAME ( '%s' )", strings.Join(names, "' '"))
	}
	if desc != "" {
		fmt.Fprintf(&b, " DESC '%s'", desc)
	}
	return b.String()
}

func listText(word string, list []string) string {
	switch len(list) {
	case 0:
		return ""
	case 1:
		return word + " " + list[0]
	}
	return word + " ( " + strings.Join(list, " $ ") + " )"
}
