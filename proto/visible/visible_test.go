package visible_test

import (
	"encoding/json"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"

	"github.com/understudy-db/understudy/proto/visible"
)

// What is hidden is escaped, and the JSON says the same.
func TestJSONStaysTheSame(t *testing.T) {
	t.Parallel()
	nasty := rapid.SampledFrom([]rune("a\u202e\u009b\u200b\u3164\ufe0f\u2800\x7f\U000e0041😀é"))
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOf(nasty).Draw(t, "nasty")) + rapid.String().Draw(t, "text")
		raw, err := json.MarshalIndent(map[string]string{"text": text}, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		var plain, got map[string]string
		if err := json.Unmarshal(raw, &plain); err != nil {
			t.Fatal(err)
		}
		escaped := visible.JSON(raw)
		if err := json.Unmarshal(escaped, &got); err != nil || got["text"] != plain["text"] {
			t.Fatalf("%q became %q: %v", plain["text"], got["text"], err)
		}
		if hidden(string(escaped)) {
			t.Fatalf("%q", escaped)
		}
	})
}

func hidden(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool {
		return r != '\n' && r != '\t' && visible.Hidden(r)
	})
}

func TestYAMLStaysTheSame(t *testing.T) {
	t.Parallel()
	const text = "a\u202eb\u3164\U000e0041"
	var got string
	escaped := visible.YAML([]byte(`"` + text + `"`))
	if err := yaml.Unmarshal(escaped, &got); err != nil || got != text || hidden(string(escaped)) {
		t.Errorf("%q became %q: %v", escaped, got, err)
	}
}

// What stands in a log as somebody else's is left alone where it hides nothing.
func TestWhatIsSeenStays(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "a\tb\n", "Änn 😀 שלום", "not\xffUTF-8", "\ufffd"} {
		if got := string(visible.JSON([]byte(text))); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}
