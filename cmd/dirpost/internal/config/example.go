package config

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
)

// lineWidth is where comments of the example are folded.
const lineWidth = 100

// Write writes c as a commented file: every key with what it means and its value. Reading it back gives c.
func Write(w io.Writer, c Config) error {
	var b strings.Builder
	b.WriteString("# The configuration of dirpost. `dirpost config check` tells what is wrong with it.\n")
	table(&b, "", reflect.ValueOf(c))
	_, err := io.WriteString(w, b.String())
	return err
}

// table writes the plain keys of v first and its tables behind them, as TOML demands.
func table(b *strings.Builder, prefix string, v reflect.Value) {
	t := v.Type()
	for i := range t.NumField() {
		if f := t.Field(i); !isTable(f.Type) {
			b.WriteString("\n")
			comment(b, f.Tag.Get("doc"))
			fmt.Fprintf(b, "%s = %s\n", f.Tag.Get("toml"), literal(v.Field(i)))
		}
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name := prefix + f.Tag.Get("toml")
		switch {
		case !isTable(f.Type):
		case f.Type.Kind() == reflect.Slice:
			for j := range v.Field(i).Len() {
				b.WriteString("\n")
				comment(b, f.Tag.Get("doc"))
				fmt.Fprintf(b, "[[%s]]\n", name)
				table(b, name+".", v.Field(i).Index(j))
			}
		default:
			b.WriteString("\n")
			comment(b, f.Tag.Get("doc"))
			fmt.Fprintf(b, "[%s]\n", name)
			table(b, name+".", v.Field(i))
		}
	}
}

func isTable(t reflect.Type) bool {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct
}

func comment(b *strings.Builder, text string) {
	line := "#"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > lineWidth {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

func literal(v reflect.Value) string {
	if d, ok := v.Interface().(Duration); ok {
		text, _ := d.MarshalText()
		return quote(string(text))
	}
	switch v.Kind() {
	case reflect.String:
		return quote(v.String())
	case reflect.Slice:
		var items []string
		for i := range v.Len() {
			items = append(items, literal(v.Index(i)))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.Map:
		var items []string
		for _, key := range v.MapKeys() {
			items = append(items, quote(key.String())+" = "+literal(v.MapIndex(key)))
		}
		slices.Sort(items)
		return "{" + strings.Join(items, ", ") + "}"
	}
	return fmt.Sprint(v.Interface())
}

// quote writes a TOML basic string (TOML 1.0, "String").
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
