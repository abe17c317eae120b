//go:build lab

package faults

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// planned is a fault of the lab's EC2 that strikes on demand; `understudy-lab ec2 --help` explains
// it.
type planned struct {
	Action     string  `json:"action,omitempty"`
	Times      int     `json:"times,omitempty"`
	Struck     int     `json:"struck,omitempty"`
	Refuse     string  `json:"refuse,omitempty"`
	Message    string  `json:"message,omitempty"`
	LoseAnswer bool    `json:"lose_answer,omitempty"`
	Slow       float64 `json:"slow,omitempty"`
	Fails      string  `json:"fails,omitempty"`
}

// plan puts faults in place of those that are planned, until the row ends. What it returns fails
// the row when one of them has not struck as often as it should have.
func (l *lab) plan(faults ...planned) (struck func()) {
	l.t.Helper()
	l.putPlan(faults)
	l.t.Cleanup(func() { l.putPlan(nil) })
	return func() {
		l.t.Helper()
		answer, err := http.Get(l.Endpoint().URL + "/lab/faults")
		if err != nil {
			l.t.Fatal(err)
		}
		defer answer.Body.Close()
		var told []planned
		if err := json.NewDecoder(answer.Body).Decode(&told); err != nil {
			l.t.Fatal(err)
		}
		for _, f := range told {
			if f.Struck < max(f.Times, 1) {
				l.t.Errorf("the fault %+v has struck %d times", f, f.Struck)
			}
		}
	}
}

func (l *lab) putPlan(faults []planned) {
	l.t.Helper()
	if faults == nil {
		faults = []planned{}
	}
	body, err := json.Marshal(faults)
	if err != nil {
		l.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(l.bg(), http.MethodPut,
		l.Endpoint().URL+"/lab/faults", bytes.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		l.t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		l.t.Fatalf("the faults are refused: %s", answer.Status)
	}
}

// amazon is the SDK's client at the lab's endpoint, for what others do in the account.
func (l *lab) amazon() *ec2.Client {
	at := l.Endpoint()
	return ec2.New(ec2.Options{Region: at.Region, BaseEndpoint: aws.String(at.URL),
		Credentials: credentials.NewStaticCredentialsProvider(at.AdminKey, "stranger", "")})
}
