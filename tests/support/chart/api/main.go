// Takes objects as an API server does, without one: decoded strictly, defaulted, converted and
// validated by the code of k8s.io/kubernetes, and pods judged by pod security admission's
// "restricted". Unlike the renderer it needs Go modules, so it is no part of ./dev test: see
// with_helm.py.
//
//	apicheck FILE...   exits 1 when an object is refused
package main

import (
	"fmt"
	"os"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	autoscalingvalidation "k8s.io/kubernetes/pkg/apis/autoscaling/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	security "k8s.io/pod-security-admission/api"
	securitypolicy "k8s.io/pod-security-admission/policy"
)

// firstPod is judged by itself: of a StatefulSet's template Kubernetes checks the labels alone, and
// would refuse the pods later.
func firstPod(set *apps.StatefulSet, options corevalidation.PodValidationOptions) field.ErrorList {
	pod := core.Pod{ObjectMeta: set.Spec.Template.ObjectMeta, Spec: *set.Spec.Template.Spec.DeepCopy()}
	pod.Name, pod.Namespace = set.Name+"-0", set.Namespace
	for _, claim := range set.Spec.VolumeClaimTemplates {
		pod.Spec.Volumes = append(pod.Spec.Volumes, core.Volume{Name: claim.Name,
			VolumeSource: core.VolumeSource{PersistentVolumeClaim: &core.PersistentVolumeClaimVolumeSource{
				ClaimName: claim.Name + "-" + pod.Name}}})
	}
	return corevalidation.ValidatePodCreate(&pod, options)
}

func validate(object runtime.Object) field.ErrorList {
	pods := corevalidation.PodValidationOptions{}
	switch o := object.(type) {
	case *core.Namespace:
		return corevalidation.ValidateNamespace(o)
	case *core.ConfigMap:
		return corevalidation.ValidateConfigMap(o)
	case *core.Service:
		if o.Spec.ClusterIP != "" && len(o.Spec.ClusterIPs) == 0 { // as its storage does
			o.Spec.ClusterIPs = []string{o.Spec.ClusterIP}
		}
		if o.Spec.ExternalTrafficPolicy == core.ServiceExternalTrafficPolicyLocal &&
			o.Spec.Type == core.ServiceTypeLoadBalancer && o.Spec.HealthCheckNodePort == 0 {
			o.Spec.HealthCheckNodePort = 30000 // allocated, too
		}
		return corevalidation.ValidateServiceCreate(o)
	case *core.ServiceAccount:
		return corevalidation.ValidateServiceAccount(o)
	case *core.Pod:
		return corevalidation.ValidatePodCreate(o, pods)
	case *apps.StatefulSet:
		return append(appsvalidation.ValidateStatefulSet(o, pods), firstPod(o, pods)...)
	case *apps.DaemonSet:
		return appsvalidation.ValidateDaemonSet(o, pods)
	case *apps.Deployment:
		return appsvalidation.ValidateDeployment(o, pods)
	case *policy.PodDisruptionBudget:
		return policyvalidation.ValidatePodDisruptionBudget(o,
			policyvalidation.PodDisruptionBudgetValidationOptions{})
	case *autoscaling.HorizontalPodAutoscaler:
		return autoscalingvalidation.ValidateHorizontalPodAutoscaler(o,
			autoscalingvalidation.HorizontalPodAutoscalerSpecValidationOptions{
				MinReplicasLowerBound: 1})
	case *networking.NetworkPolicy:
		return networkvalidation.ValidateNetworkPolicy(o,
			networkvalidation.NetworkPolicyValidationOptions{})
	case *networking.Ingress:
		return networkvalidation.ValidateIngressCreate(o)
	}
	return field.ErrorList{field.InternalError(nil, fmt.Errorf("no validation of %T", object))}
}

// template is the pod that an object is or makes.
func template(object runtime.Object) *corev1.PodTemplateSpec {
	switch o := object.(type) {
	case *appsv1.StatefulSet:
		return &o.Spec.Template
	case *appsv1.DaemonSet:
		return &o.Spec.Template
	case *appsv1.Deployment:
		return &o.Spec.Template
	case *corev1.Pod:
		return &corev1.PodTemplateSpec{ObjectMeta: o.ObjectMeta, Spec: o.Spec}
	}
	return nil
}

func restricted(evaluator securitypolicy.Evaluator, object runtime.Object) []string {
	pod := template(object)
	if pod == nil {
		return nil
	}
	level := security.LevelVersion{Level: security.LevelRestricted,
		Version: security.LatestVersion()}
	found := []string{}
	for _, result := range evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec) {
		if !result.Allowed {
			found = append(found, fmt.Sprintf("restricted: %s: %s", result.ForbiddenReason,
				result.ForbiddenDetail))
		}
	}
	return found
}

func check(codecs serializer.CodecFactory, evaluator securitypolicy.Evaluator, document string) (
	kind string, problems []string, known bool) {
	external, what, err := codecs.UniversalDeserializer().Decode([]byte(document), nil, nil)
	if err != nil {
		return err.Error(), []string{err.Error()}, !runtime.IsNotRegisteredError(err)
	}
	legacyscheme.Scheme.Default(external)
	internal, err := legacyscheme.Scheme.UnsafeConvertToVersion(external.DeepCopyObject(),
		runtime.InternalGroupVersioner)
	if err != nil {
		return what.Kind, []string{err.Error()}, true
	}
	for _, one := range validate(internal) {
		problems = append(problems, one.Error())
	}
	return what.Kind, append(problems, restricted(evaluator, external)...), true
}

// isEmpty says whether a document has comments alone.
func isEmpty(document string) bool {
	for _, line := range strings.Split(document, "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

func main() {
	codecs := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict)
	evaluator, err := securitypolicy.NewEvaluator(securitypolicy.DefaultChecks())
	if err != nil {
		panic(err)
	}
	taken, refused, unknown := 0, 0, 0
	for _, file := range os.Args[1:] {
		data, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		for _, document := range strings.Split("\n"+string(data), "\n---") {
			if isEmpty(document) {
				continue
			}
			kind, problems, known := check(codecs, evaluator, document)
			switch {
			case !known:
				unknown++
			case len(problems) == 0:
				taken++
			default:
				refused++
				for _, one := range problems {
					fmt.Printf("%s: %s: %s\n", file, kind, one)
				}
			}
		}
	}
	fmt.Printf("%d taken, %d refused, %d of kinds that Kubernetes itself does not have\n", taken,
		refused, unknown)
	if refused > 0 {
		os.Exit(1)
	}
}
