package ec2lab

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func newServer(t *testing.T, behaviour Behaviour) *Server {
	t.Helper()
	s, err := New(Config{Lab: NewMemory(), Behaviour: behaviour})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func clientOf(t *testing.T, h http.Handler) *ec2.Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return ec2.New(ec2.Options{Region: Region, BaseEndpoint: aws.String(server.URL),
		Retryer: aws.NopRetryer{}, HTTPClient: whole{server.Client()},
		Credentials: credentials.NewStaticCredentialsProvider(AccessKey, "secret", "")})
}

// whole sends a copy of the body. The SDK closes a request's body as soon as there is an answer;
// when that comes before the transport has seen the end of the body, which these servers are fast
// enough for, the transport takes it for a broken body and closes the connection.
type whole struct{ client *http.Client }

func (w whole) Do(r *http.Request) (*http.Response, error) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(data))
	return w.client.Do(r)
}

// Every field of every input comes back as it was.
func TestRequestsOfTheSDKAreRead(t *testing.T) {
	t.Parallel()
	s := newServer(t, Behaviour{})
	for action, op := range s.operations {
		in := reflect.New(op.model.input)
		for _, l := range op.model.leaves {
			value := sample(l.kind)
			if e := base(l.kind); e.Kind() == reflect.String {
				if values, ok := reflect.Zero(e).Type().MethodByName("Values"); ok {
					value = values.Func.Call([]reflect.Value{reflect.Zero(e)})[0].Index(0)
				}
			}
			set(in.Elem(), l.path, nil, value)
		}
		form, err := op.model.encode(in.Interface(), false)
		if err != nil {
			t.Fatalf("%s: %v", action, err)
		}
		got, err := op.model.decode(form)
		if err != nil {
			t.Fatalf("%s: %v", action, err)
		}
		if !reflect.DeepEqual(got, in.Interface()) {
			t.Errorf("%s: read %+v, sent %+v", action, got, in.Interface())
		}
	}
}

func TestRequestsThatTheSDKWouldNotMakeAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t, Behaviour{})
	for name, test := range map[string]struct {
		action string
		form   url.Values
		code   string
	}{
		"unknown parameter": {"CreateVolume",
			url.Values{"AvailabilityZone": {"a"}, "Colour": {"red"}}, "UnknownParameter"},
		"plural of the field": {"RunInstances", url.Values{"MinCount": {"1"}, "MaxCount": {"1"},
			"BlockDeviceMappings.1.DeviceName": {"/dev/sdf"}}, "UnknownParameter"},
		"not a number": {"CreateVolume", url.Values{"Size": {"big"}},
			"InvalidParameterValue"},
		"not in the list": {"CreateVolume", url.Values{"VolumeType": {"gp9"}},
			"InvalidParameterValue"},
		"a hole in a list": {"DeleteVolume",
			url.Values{"VolumeId": {"vol-1"}, "DryRun": {"yes"}}, "InvalidParameterValue"},
		"index from nothing": {"DescribeVolumes", url.Values{"VolumeId.0": {"vol-1"}},
			"InvalidParameterValue"},
		"huge index": {"DescribeVolumes", url.Values{"VolumeId.100000000": {"vol-1"}},
			"InvalidParameterValue"},
		"twice": {"CreateVolume", url.Values{"Size": {"1", "2"}},
			"InvalidParameterValue"},
	} {
		_, err := s.operations[test.action].model.decode(test.form)
		var r *refusal
		if !errors.As(err, &r) || r.code != test.code {
			t.Errorf("%s: %v, not %s", name, err, test.code)
		}
	}
}

// Every field of every answer is read by the SDK as it was written.
func TestAnswersAreReadByTheSDK(t *testing.T) {
	t.Parallel()
	check(t, (*ec2.Client).RunInstances)
	check(t, (*ec2.Client).DescribeInstances)
	check(t, (*ec2.Client).DescribeInstanceTypes)
	check(t, (*ec2.Client).StartInstances)
	check(t, (*ec2.Client).StopInstances)
	check(t, (*ec2.Client).TerminateInstances)
	check(t, (*ec2.Client).ModifyInstanceMetadataOptions)
	check(t, (*ec2.Client).DescribeImages)
	check(t, (*ec2.Client).DescribeAvailabilityZones)
	check(t, (*ec2.Client).CreateVolume)
	check(t, (*ec2.Client).DescribeVolumes)
	check(t, (*ec2.Client).AttachVolume)
	check(t, (*ec2.Client).DetachVolume)
	check(t, (*ec2.Client).ModifyVolume)
	check(t, (*ec2.Client).DescribeVolumesModifications)
	check(t, (*ec2.Client).CreateSnapshot)
	check(t, (*ec2.Client).DescribeSnapshots)
}

func check[I, O any](t *testing.T, send func(*ec2.Client, context.Context, *I,
	...func(*ec2.Options)) (*O, error)) {
	t.Helper()
	want := new(O)
	populate(reflect.ValueOf(want).Elem(), 0)
	client := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		if err := writeAnswer(&b, r.FormValue("Action"), "id", want); err != nil {
			t.Error(err)
		}
		_, _ = w.Write(b.Bytes())
	}))
	got, err := send(client, t.Context(), new(I), func(o *ec2.Options) {
		o.APIOptions = append(o.APIOptions, withoutValidation)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{got, want} {
		f := reflect.ValueOf(v).Elem().FieldByName("ResultMetadata")
		f.Set(reflect.Zero(f.Type()))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%T: read %+v, written %+v", want, got, want)
	}
}

// populate sets every field.
func populate(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		populate(v.Elem(), depth)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 2, 3, 4, 5, 6, 7e6, time.UTC)))
			return
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "ResultMetadata" &&
				depth < maxDepth {
				populate(v.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		populate(v.Index(0), depth+1)
		populate(v.Index(1), depth+1)
	case reflect.String:
		v.SetString("a <b> & \"c\"")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(7.25)
	}
}

func TestRefusalsOfTheEndpoint(t *testing.T) {
	t.Parallel()
	s := newServer(t, Behaviour{Denied: []string{"DeleteVolume"}, Fault: func(action string) Fault {
		return map[string]Fault{"StartInstances": {Refuse: "RequestLimitExceeded"},
			"StopInstances": {LoseRequest: true}}[action]
	}})
	client, ctx := clientOf(t, s), t.Context()
	want := func(code string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), code) {
			t.Errorf("error is %v, not %s", err, code)
		}
	}
	_, err := client.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: aws.String("vol-1")})
	want("UnauthorizedOperation", err)
	_, err = client.CreateVolume(ctx, &ec2.CreateVolumeInput{DryRun: aws.Bool(true),
		AvailabilityZone: aws.String("a"), VolumeType: types.VolumeTypeGp3})
	want("DryRunOperation", err)
	_, err = client.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{"i-1"}})
	want("RequestLimitExceeded", err)
	_, err = client.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{"i-1"}})
	want("EOF", err)
	_, err = client.CreateVpc(ctx, &ec2.CreateVpcInput{})
	want("InvalidAction", err)
	_, err = client.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: aws.String("vol-1")},
		func(o *ec2.Options) {
			o.Credentials = credentials.NewStaticCredentialsProvider("AKIASTRANGER", "secret", "")
		})
	want("AuthFailure", err)
}

func TestGlob(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, value string
		want           bool
	}{{"a*c", "abc", true}, {"a?c", "abc", true}, {`a\*c`, "abc", false}, {`a\*c`, "a*c", true},
		{"", "", true}, {"*", "", true}, {"ab", "abc", false}, {`\\`, `\`, true}} {
		if got := glob([]rune(test.pattern), []rune(test.value)); got != test.want {
			t.Errorf("%q matches %q: %v", test.pattern, test.value, got)
		}
	}
}
