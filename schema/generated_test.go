package schema_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/schema"
)

// What go generate makes of the definitions is what is checked in.
func TestGenerated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	gen := filepath.Join(dir, "generate")
	if out, err := exec.Command("go", "build", "-o", gen, "./gen").CombinedOutput(); err != nil {
		t.Fatalf("go build ./gen: %v\n%s", err, out)
	}
	for _, name := range []string{"standard.schema", "dirpost.schema"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(gen)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the generator: %v\n%s", err, out)
	}
	for _, name := range []string{"names.go", "dirpost.ldif", "99dirpost-389ds.ldif"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the definitions say: run go generate ./schema", name)
		}
	}
}

// 389-ds does not start with a schema that names what it does not have.
func TestDS389Names(t *testing.T) {
	t.Parallel()
	_, definitions, ok := strings.Cut(schema.DS389, "dn: cn=schema\n")
	if !ok {
		t.Fatal("no entry cn=schema")
	}
	for _, absent := range []string{schema.AttrMailLocalAddress, schema.AttrRfc822MailMember, schema.ClassInetLocalMailRecipient} {
		if regexp.MustCompile(`\b` + absent + `\b`).MatchString(definitions) {
			t.Errorf("%s is in the schema for 389-ds, which has it under another name", absent)
		}
	}
}
