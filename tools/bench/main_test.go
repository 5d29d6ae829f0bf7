package main

import (
	"strings"
	"testing"
)

func TestCompareDividesMedians(t *testing.T) {
	t.Parallel()
	lines := `{"label":"rival lmtp c=10","ops":100,"ops_s":700,"p50_ms":12,"srv_cpu_s":0.13}
{"label":"rival lmtp c=10","ops":100,"ops_s":100,"p50_ms":90,"srv_cpu_s":0.13}
{"label":"rival lmtp c=10","ops":100,"ops_s":800,"p50_ms":11,"srv_cpu_s":0.13}
{"label":"dirpost lmtp c=10","ops":100,"ops_s":2100,"p50_ms":4,"srv_cpu_s":0.065}
{"label":"dirpost only here","ops":1,"ops_s":1}
`
	var out strings.Builder
	if err := compare(strings.NewReader(lines), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ops/s 700 2.1e+03 3.00", "p50 ms 12 4 3.00", "CPU ms/op 1.3 0.65 2.00"} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "only here") {
		t.Errorf("a measurement of one side is no comparison:\n%s", out.String())
	}
	if err := compare(strings.NewReader("not JSON\n"), &out); err == nil {
		t.Error("garbage was taken")
	}
}
