package ec2lab

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestPlannedFaults(t *testing.T) {
	t.Parallel()
	s := &Server{operations: map[string]operation{"AttachVolume": {}, "CreateVolume": {}}}
	front := httptest.NewServer(s)
	defer front.Close()
	ask := func(method, body string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), method, front.URL+FaultsPath,
			strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, strings.TrimSpace(string(text))
	}
	for _, bad := range []string{`[{"action": "AttachVolumes"}]`, `[{"stuck": true}]`, `{}`} {
		if code, _ := ask(http.MethodPut, bad); code != http.StatusBadRequest {
			t.Errorf("%s is answered with %d", bad, code)
		}
	}
	if code, text := ask(http.MethodPut,
		`[{"action": "AttachVolume", "times": 1, "lose_answer": true},
			{"action": "CreateVolume", "slow": 1.5}]`); code != http.StatusNoContent {
		t.Fatalf("%d %s", code, text)
	}
	if f := s.nextFault("AttachVolume"); !f.LoseAnswer {
		t.Errorf("the first call has %+v", f)
	}
	if f := s.nextFault("AttachVolume"); f != (Fault{}) {
		t.Errorf("the second call has %+v", f)
	}
	for range 3 {
		if f := s.nextFault("CreateVolume"); f.Slow != 1500*time.Millisecond {
			t.Errorf("each call is to be slow, this has %+v", f)
		}
	}
	want := `[{"action":"AttachVolume","times":1,"struck":1,"lose_answer":true},` +
		`{"action":"CreateVolume","struck":3,"slow":1.5}]`
	if _, text := ask(http.MethodGet, ""); text != want {
		t.Errorf("it tells of %s", text)
	}
	ask(http.MethodPut, `[]`)
	s.SetBehaviour(Behaviour{Fault: func(string) Fault { return Fault{Refuse: "InternalError"} }})
	if f := s.nextFault("CreateVolume"); f.Refuse != "InternalError" {
		t.Errorf("without a plan a call has %+v", f)
	}
}
