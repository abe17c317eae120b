package house_test

import (
	"bytes"
	"path"
	"regexp"
	"strings"
	"testing"
)

// templated is code that runs templates, those of cobra among them.
var templated = regexp.MustCompile(`"(text|html)/template"|\.Set(Usage|Help|Version)Template\(`)

// No program runs a template: one finds methods by their names at run time, and so has the linker
// keep each method of each library, which makes a program twice as large. gRPC has some, too.
func TestNoProgramRunsTemplates(t *testing.T) {
	t.Parallel()
	for _, file := range files(t) {
		if path.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
			continue
		}
		if found := templated.Find(read(t, file)); found != nil {
			t.Errorf("%s: %s: write the text in Go", file, found)
		}
	}
	for file, built := range map[string]string{
		"Makefile":              "go build -trimpath -tags $(TAGS) ",
		"deploy/packages/build": "go build -trimpath -tags grpcnotrace ",
	} {
		if !bytes.Contains(read(t, file), []byte(built)) {
			t.Errorf("%s builds programs without %q", file, built)
		}
	}
}
