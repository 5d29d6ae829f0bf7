// Package schema holds what the directory of dirpost is made of: the object classes and attribute types, as one
// definition and in every form that servers want, the reference configuration of slapd, and the names as Go constants.
//
// dirpost.schema is the definition of our own names and standard.schema of the published ones we use. names.go,
// dirpost.ldif (OpenLDAP, cn=config) and 99dirpost-389ds.ldif (389 Directory Server) are generated from them; a test
// fails when they are not.
//
// Start reading at [Load]; parse.go reads the files, names.go is what the rest of the tree imports.
package schema

import (
	_ "embed"
	"sync"
)

//go:generate go run ./gen

// OpenLDAP is our schema as slapd.conf includes it, LDIF as it is added below cn=config, DS389 as a file in the schema
// folder of a 389-ds instance. Standard holds the published definitions that those servers have built in.
var (
	//go:embed dirpost.schema
	OpenLDAP string
	//go:embed standard.schema
	Standard string
	//go:embed dirpost.ldif
	LDIF string
	//go:embed 99dirpost-389ds.ldif
	DS389 string
)

// Load returns the schema of the embedded directory: the published definitions and our own. The files are compiled in
// and tested, so a fault in them is a bug of the build and panics.
var Load = sync.OnceValue(func() *Schema {
	s := New()
	for _, text := range []string{Standard, OpenLDAP} {
		if err := s.Parse(text); err != nil {
			panic(err)
		}
	}
	return s
})
